"""JSON web tokens, HS256, made by hand: good ones and every kind of bad one."""

import base64
import hashlib
import hmac
import json
import time

KEY = "k1-0123456789abcdef0123456789abcdef"


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims, key=KEY, header=None, digest=hashlib.sha256):
    """A signed token of exactly these claims."""
    signed = part({"alg": "HS256", "typ": "JWT", **(header or {})}) + "." + part(claims)
    signature = hmac.new(key.encode(), signed.encode(), digest).digest()
    return signed + "." + part(signature)


def user_token(user, key=KEY, seconds=600, header=None, **claims):
    """What an issuer gives a user; `sub` is a string."""
    return token({"sub": str(user), "exp": int(time.time()) + seconds, **claims}, key, header)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}
