"""Every HTTP route with curl and http.client: bodies, codes, problems, tokens."""

import json
import socket
import time

import pytest

import tokens
from conformance import now_ms


@pytest.fixture
def rain(resp, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 100000 COUNT 100")
    return name


@pytest.fixture
def stock(resp, name):
    resp.call(f"STOCK.CREATE {name} UNITS 10 PRICE 500 LIMIT 3")
    return name


def problem(response, status, code=None):
    """An RFC 9457 answer of this status; its code."""
    assert response.status == status, (response.status, response.body)
    assert response.headers["Content-Type"].split(";")[0] == "application/problem+json"
    document = response.json()
    assert document["type"].startswith("urn:downpour:problem:")
    assert document["status"] == status and document["title"]
    found = document["type"].rsplit(":", 1)[1]
    assert code is None or found == code, document
    return found


def test_a_grab_and_its_retry(shared, rain):
    first = shared.as_user(42, "POST", f"/v1/rains/{rain}/grab")
    assert first.status == 200 and first.headers["Content-Type"].startswith("application/json")
    assert first.headers["Downpour-Node"] == "test-1"
    body = first.json()
    assert body["outcome"] == "granted" and body["amount"] > 0 and body["packet"] >= 0
    assert abs(body["at"] - now_ms()) < 10_000 and abs(body["now"] - now_ms()) < 10_000
    again = shared.as_user(42, "POST", f"/v1/rains/{rain}/grab").json()
    assert again["replayed"] is True and "replayed" not in body
    for field in ("outcome", "amount", "packet", "at"):
        assert again[field] == body[field]


def test_curl(shared, rain, run_tool):
    """curl as in the documentation, http/1.1 keep-alive over two requests."""
    url = f"http://127.0.0.1:{shared.port('http')}/v1/rains/{rain}"
    result = run_tool("curl", "-sS", "-f", "-v", "-X", "POST", "-H", "X-User: 5",
                      f"{url}/grab", "--next", "-sS", "-f", "-H", "X-User: 5", f"{url}/claims")
    assert "Re-using existing connection" in result.stderr
    granted, end = json.JSONDecoder().raw_decode(result.stdout)
    assert granted["outcome"] == "granted"
    claims = json.loads(result.stdout[end:])
    assert str(granted["packet"]) in json.dumps(claims)


def test_the_other_outcomes(shared, resp, name):
    opens = now_ms() + 3_600_000
    resp.call(f"RAIN.CREATE {name} AMOUNT 100 COUNT 1 OPENS {opens}")
    early = shared.as_user(1, "POST", f"/v1/rains/{name}/grab").json()
    assert early["outcome"] == "early" and early["opensAt"] == opens and early["now"] < opens
    resp.call(f"RAIN.ALTER {name} a OPENS 1000")
    assert shared.as_user(1, "POST", f"/v1/rains/{name}/grab").json()["outcome"] == "granted"
    assert shared.as_user(2, "POST", f"/v1/rains/{name}/grab").json()["outcome"] == "soldout"
    resp.call(f"RAIN.CLOSE {name}")
    assert shared.as_user(3, "POST", f"/v1/rains/{name}/grab").json()["outcome"] == "closed"


def test_a_limit_above_one_needs_a_key(shared, resp, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 1000 COUNT 10 LIMIT 2")
    path = f"/v1/rains/{name}/grab"
    problem(shared.as_user(1, "POST", path), 400)
    one = shared.as_user(1, "POST", path, {"Idempotency-Key": "k1"}).json()
    assert shared.as_user(1, "POST", path, {"Idempotency-Key": "k1"}).json()["replayed"]
    two = shared.as_user(1, "POST", path, {"Idempotency-Key": "k2"}).json()
    assert one["packet"] != two["packet"]
    assert shared.as_user(1, "POST", path, {"Idempotency-Key": "k3"}).json()[
        "outcome"] == "limit"


def test_rain_state(shared, rain):
    state = shared.as_user(1, "GET", f"/v1/rains/{rain}").json()
    assert state["state"] == "open" and abs(state["now"] - now_ms()) < 10_000
    assert "opensAt" in state and "closesAt" in state
    assert "seed" not in state or not state["seed"]


def test_the_life_of_an_order(shared, resp, stock):
    path = f"/v1/stock/{stock}/reserve"
    first = shared.as_user(7, "POST", path, {"Idempotency-Key": "q1"}, {"qty": 2})
    assert first.status == 200
    body = first.json()
    assert body["outcome"] == "reserved" and isinstance(body["order"], str)
    assert body["expiresAt"] > body["now"]
    again = shared.as_user(7, "POST", path, {"Idempotency-Key": "q1"}, {"qty": 2}).json()
    assert again["order"] == body["order"] and again["replayed"] is True
    problem(shared.as_user(7, "POST", path, {"Idempotency-Key": "q1"}, {"qty": 1}), 422)
    assert shared.as_user(7, "GET", f"/v1/stock/{stock}").json()["state"] == "open"
    orders = shared.as_user(7, "GET", f"/v1/stock/{stock}/orders")
    assert body["order"] in orders.body.decode()
    order = shared.as_user(7, "GET", f"/v1/orders/{body['order']}").json()
    assert order["state"] == "reserved" and order["user"] == "7", "user ids are strings"
    cancelled = shared.as_user(7, "POST", f"/v1/orders/{body['order']}/cancel")
    assert cancelled.status == 200 and cancelled.json()["outcome"] == "cancelled"


def test_others_see_nothing_of_an_order(shared, stock):
    order = shared.as_user(7, "POST", f"/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"},
                           {"qty": 1}).json()["order"]
    for method, path in (("GET", f"/v1/orders/{order}"), ("POST", f"/v1/orders/{order}/cancel")):
        response = shared.as_user(8, method, path)
        assert response.status in (403, 404) and order not in response.body.decode()
    assert order not in shared.as_user(8, "GET", f"/v1/stock/{stock}/orders").body.decode()
    assert shared.as_user(7, "GET", f"/v1/orders/{order}").json()["state"] == "reserved"


def test_orders_are_never_paid_from_here(shared, stock):
    order = shared.as_user(7, "POST", f"/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"},
                           {"qty": 1}).json()["order"]
    assert shared.as_user(7, "POST", f"/v1/orders/{order}/pay").status in (404, 405)


BAD_REQUESTS = {
    "no such rain": ("POST", "/v1/rains/nosuch/grab", {}, None, 404),
    "no such stock": ("POST", "/v1/stock/nosuch/reserve", {"Idempotency-Key": "q"},
                      {"qty": 1}, 404),
    "no such order": ("GET", "/v1/orders/00000000000zz", {}, None, 404),
    "no such path": ("GET", "/v1/cats", {}, None, 404),
    "another method": ("DELETE", "/v1/rains/{rain}", {}, None, 405),
    "a get of a grab": ("GET", "/v1/rains/{rain}/grab", {}, None, 405),
    "a bad rain name": ("POST", "/v1/rains/a%2Fb%00/grab", {}, None, (400, 404)),
    "no key": ("POST", "/v1/stock/{stock}/reserve", {}, {"qty": 1}, 400),
    "a key too long": ("POST", "/v1/stock/{stock}/reserve", {"Idempotency-Key": "k" * 65},
                       {"qty": 1}, 400),
    "no quantity": ("POST", "/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"}, {}, 400),
    "a quantity that is no number": ("POST", "/v1/stock/{stock}/reserve",
                                     {"Idempotency-Key": "q"}, {"qty": "1; drop"}, 400),
    "a quantity of zero": ("POST", "/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"},
                           {"qty": 0}, 400),
    "a quantity out of bounds": ("POST", "/v1/stock/{stock}/reserve",
                                 {"Idempotency-Key": "q"}, {"qty": 10**30}, 400),
    "no JSON": ("POST", "/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"}, "{qty", 400),
    "not JSON by its type": ("POST", "/v1/stock/{stock}/reserve", {
        "Idempotency-Key": "q", "Content-Type": "text/xml"}, "<qty>1</qty>", 415),
    "JSON too deep": ("POST", "/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"},
                      "[" * 5000, 400),
    "a body too large": ("POST", "/v1/stock/{stock}/reserve", {"Idempotency-Key": "q"},
                         '{"qty":1,"x":"' + "y" * 2_000_000 + '"}', 413),
}


@pytest.mark.parametrize("case", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_bad_requests_are_problems(shared, resp, case):
    resp.call("RAIN.CREATE bad-rain AMOUNT 1000 COUNT 10")
    resp.call("STOCK.CREATE bad-stock UNITS 10")
    method, path, headers, body, status = case
    path = path.format(rain="bad-rain", stock="bad-stock")
    try:
        response = shared.as_user(1, method, path, headers, body)
    except (BrokenPipeError, ConnectionResetError):
        assert status == 413, "only a body that is too large may be cut off"
        return
    wanted = status if isinstance(status, tuple) else (status,)
    assert response.status in wanted, (response.status, response.body)
    problem(response, response.status)
    if response.status == 405:
        assert response.headers["Allow"]


def test_users_are_checked(shared, rain):
    path = f"/v1/rains/{rain}/grab"
    problem(shared.request("POST", path), 401)
    for user in ("", "abc", "-1", "18446744073709551616", "1 2"):
        assert shared.request("POST", path, {"X-User": user}).status in (400, 401), user
    for header in ("Forwarded", "X-Forwarded-For"):
        response = shared.as_user(1, "POST", path, {header: "for=10.0.0.1"})
        assert response.status in (400, 401, 403), "a proxy may not name users"


def test_health(shared):
    for listener in ("http", "admin"):
        for path in ("/healthz", "/readyz"):
            assert shared.request("GET", path, listener=listener).status == 200


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A node that wants tokens; two keys are on its ring."""
    from node import Node
    node = Node(tmp_path_factory.mktemp("guarded"), insecure=False, env={
        "DOWNPOUR_TOKEN_KEY": f"k1:{tokens.KEY},k2:another-key-another-key-another-key",
        "DOWNPOUR_ADMIN_TOKEN": "admin-secret", "DOWNPOUR_ADMIN_READ_TOKEN": "read-secret",
    }).start()
    with node.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 100000 COUNT 1000")
    yield node
    node.kill()


GRAB = "/v1/rains/r/grab"


def with_kid(user, kid="k1", key=tokens.KEY, **rest):
    return tokens.user_token(user, key, header={"kid": kid}, **rest)


def test_a_token_is_a_user(guarded):
    one = guarded.request("POST", GRAB, tokens.bearer(with_kid(42)))
    assert one.status == 200, one.body
    two = guarded.request("POST", GRAB, tokens.bearer(with_kid(42, seconds=99)))
    assert two.json()["replayed"] is True
    other = with_kid(42, "k2", "another-key-another-key-another-key")
    assert guarded.request("POST", GRAB, tokens.bearer(other)).json()["replayed"] is True


def bad_tokens():
    good = with_kid(5)
    head, claims, signature = good.split(".")
    none = tokens.part({"alg": "none"}) + "." + tokens.part({"sub": "5", "exp": 2**40}) + "."
    return {
        "another key": with_kid(5, key="wrong" * 8),
        "an unknown kid": with_kid(5, "k9"),
        "the key of another kid": with_kid(5, "k2"),
        "expired": with_kid(5, seconds=-5),
        "no expiry": tokens.token({"sub": "5"}, header={"kid": "k1"}),
        "no subject": tokens.token({"exp": int(time.time()) + 60}, header={"kid": "k1"}),
        "a subject that is no user": with_kid("alice"),
        "a subject out of bounds": with_kid(2**64),
        "alg none": none,
        "alg HS512": with_kid(5).replace(head, tokens.part({"alg": "HS512", "kid": "k1"})),
        "a cut signature": good[:-4],
        "another's claims": f"{head}.{with_kid(6).split('.')[1]}.{signature}",
        "no signature": f"{head}.{claims}.",
        "two parts": f"{head}.{claims}",
        "not base64": f"{head}.{claims}.!!!!",
        "nothing": "",
        "very long": "a" * 6000,
        "an expiry that is text": tokens.token({"sub": "5", "exp": "soon"}, header={"kid": "k1"}),
    }


@pytest.mark.parametrize("case", bad_tokens().keys())
def test_a_bad_token_is_refused(guarded, case):
    response = guarded.request("POST", GRAB, tokens.bearer(bad_tokens()[case]))
    assert response.status in ((401, 431) if case == "very long" else (401,)), response.body
    if response.status == 401:
        problem(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_x_user_is_no_way_around_a_token(guarded):
    assert guarded.request("POST", GRAB, {"X-User": "5"}).status == 401
    mixed = guarded.request(
        "POST", GRAB, {**tokens.bearer(with_kid(1042)), "X-User": "1043"})
    again = guarded.request("POST", GRAB, tokens.bearer(with_kid(1042)))
    assert mixed.status in (200, 400, 401)
    assert mixed.status != 200 or again.json()["replayed"] is True


def test_a_remembered_token_still_expires(guarded):
    """A connection that has verified a token once must not accept it past its end."""
    import http.client
    headers = tokens.bearer(with_kid(77, seconds=2))
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port("http"), timeout=10)
    statuses = []
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and 401 not in statuses:
        connection.request("POST", GRAB, headers=headers)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        time.sleep(0.1)
    connection.close()
    assert statuses[0] == 200 and statuses[-1] == 401


def test_one_connection_may_carry_many_users(guarded):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port("http"), timeout=10)
    packets = set()
    for user in (501, 502, 501, 503, 502):
        connection.request("POST", GRAB, headers=tokens.bearer(with_kid(user)))
        packets.add(json.loads(connection.getresponse().read())["packet"])
    connection.close()
    assert len(packets) == 3


def raw(node, data, timeout=10):
    """Sends bytes, closes the writing side, returns all that comes back."""
    with socket.create_connection(("127.0.0.1", node.port("http")), timeout=timeout) as one:
        try:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := one.recv(65536):
                received += chunk
        except TimeoutError:
            raise AssertionError("neither an answer nor a close") from None
        except OSError:
            # Closed while we were still sending.
            return b""
        return received


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "binary": bytes(range(256)) * 8,
    "a length that is no number": b"POST /v1/rains/r/grab HTTP/1.1\r\nHost: x\r\n"
                                  b"Content-Length: abc\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                   b"Content-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "a header with a null": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "a huge header": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    "a huge target": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_http_is_refused_or_closed(shared, data):
    answer = raw(shared, data)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]
    assert shared.request("GET", "/healthz").status == 200


def test_pipelined_requests_are_answered_in_order(shared, resp, name):
    resp.call(f"RAIN.CREATE {name} AMOUNT 100000 COUNT 1000")
    one = "POST /v1/rains/{}/grab HTTP/1.1\r\nHost: x\r\nX-User: {}\r\nContent-Length: 0\r\n\r\n"
    data = "".join(one.format(name, user) for user in range(20))
    answer = raw(shared, data.encode()).decode()
    assert answer.count("HTTP/1.1 200") == 20
    grabbed = [resp.call(f"RAIN.GRAB {name} {user}")[2] for user in range(20)]
    found = [json.loads(part[:part.index("}") + 1])["packet"]
             for part in answer.split("\r\n\r\n")[1:]]
    assert found == grabbed


def test_http_1_0_and_connection_close(shared):
    answer = raw(shared, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 200 " in answer.split(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", shared.port("http")), timeout=10) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while chunk := one.recv(65536):
            received += chunk
    assert b" 200 " in received


def test_cors(start_node, run_tool):
    node = start_node(env={"DOWNPOUR_CORS_ORIGINS": "https://shop.example"})
    preflight = node.request("OPTIONS", "/v1/rains/r/grab", {
        "Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key"})
    assert preflight.status in (200, 204)
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "idempotency-key" in preflight.headers["Access-Control-Allow-Headers"].lower()
    other = node.request("GET", "/v1/rains/r", {"Origin": "https://evil.example",
                                                "X-User": "1"})
    assert other.headers["Access-Control-Allow-Origin"] is None


def test_a_listener_for_everybody_needs_its_secret(make_node):
    for listener in ("--http", "--resp", "--admin"):
        node = make_node(listener, "0.0.0.0:0", name=f"open{listener}", insecure=False)
        node.launch()
        assert node.wait(20) == 78, f"{listener}: {node.log_tail()}"
        assert node.log().strip(), "it has to say why"


def test_wrk_gets_nothing_but_answers(shared, resp, name, run_tool, directory):
    resp.call(f"RAIN.CREATE {name} AMOUNT 100000000 COUNT 1000000 DURABILITY memory")
    script = directory / "grab.lua"
    script.write_text(
        "local k = 0\n"
        "function request() k = k + 1\n"
        f"  return wrk.format('POST', '/v1/rains/{name}/grab', {{['X-User'] = k}}) end\n")
    result = run_tool("wrk", "-t", 1, "-c", 64, "-d", "2s", "-s", script,
                      f"http://127.0.0.1:{shared.port('http')}")
    assert "Non-2xx" not in result.stdout and "Socket errors" not in result.stdout
    requests = int(next(line for line in result.stdout.splitlines()
                        if "requests in" in line).split()[0])
    granted = resp.mapping(f"RAIN.INFO {name}")["granted"]
    assert requests > 1000 and requests <= granted <= requests + 64
