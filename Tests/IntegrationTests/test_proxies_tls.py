"""nginx in front of the node, and TLS on the client listeners with certificates reread."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess

import pytest
import redis

import tokens
from node import eventually

NGINX = """
daemon off; worker_processes 1; pid {d}/nginx.pid; error_log {d}/error.log warn; {user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {d}/body; proxy_temp_path {d}/proxy; fastcgi_temp_path {d}/f;
    uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
    upstream node {{ server 127.0.0.1:{port}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass http://node;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def proxied(start_node, directory):
    """A node that wants tokens, and the port of an nginx in front of it."""
    node = start_node("--trusted-proxies", "127.0.0.1/32", insecure=False,
                      env={"DOWNPOUR_TOKEN_KEY": tokens.KEY})
    directory.chmod(0o755)
    configuration, listen = directory / "nginx.conf", free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(NGINX.format(
        d=directory, port=node.port("http"), listen=listen, user=user))
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
    nginx = subprocess.Popen(
        ["nginx", "-p", directory, "-c", configuration, "-e", directory / "error.log"],
        env=environment, stdin=subprocess.DEVNULL)

    def answers():
        assert nginx.poll() is None, (directory / "error.log").read_text()
        return socket.create_connection(("127.0.0.1", listen), timeout=1).close() or True

    try:
        eventually(answers, what="nginx")
        node.proxy = listen
        yield node
    finally:
        nginx.terminate()
        nginx.wait(20)


def test_nginx_as_a_reverse_proxy(proxied):
    """Many requests over kept-alive connections on both sides; bodies and codes unchanged."""
    with proxied.resp() as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000000 COUNT 10000")
        connection.call("STOCK.CREATE s UNITS 100")
    client = http.client.HTTPConnection("127.0.0.1", proxied.proxy, timeout=10)
    packets = set()
    for user in range(500):
        client.request("POST", "/v1/rains/r/grab",
                       headers=tokens.bearer(tokens.user_token(user)))
        response = client.getresponse()
        body = response.read()
        assert response.status == 200, body
        assert response.headers["Downpour-Node"] == "test-1"
        packets.add(json.loads(body)["packet"])
    assert len(packets) == 500
    client.request("POST", "/v1/stock/s/reserve", body='{"qty":1}', headers={
        **tokens.bearer(tokens.user_token(1)), "Idempotency-Key": "q",
        "Content-Type": "application/json"})
    assert json.loads(client.getresponse().read())["outcome"] == "reserved"
    client.request("POST", "/v1/rains/r/grab")
    response = client.getresponse()
    response.read()
    assert response.status == 401
    client.close()


def certificate(directory, name):
    """A self-made certificate for localhost: paths of the certificate and its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True)
    return cert, key


def context_for(cert):
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = True
    return context


@pytest.fixture
def secured(start_node, directory):
    cert, key = certificate(directory, "first")
    node = start_node("--tls-cert", cert, "--tls-key", key)
    node.cert, node.key = cert, key
    return node


def serial(node, cert):
    """The serial number of the certificate that the node shows now."""
    with socket.create_connection(("127.0.0.1", node.port("http")), timeout=10) as plain:
        with context_for(cert).wrap_socket(plain, server_hostname="localhost") as secure:
            return secure.getpeercert()["serialNumber"]


def test_tls_on_http_and_resp(secured, run_tool):
    with secured.resp(context=context_for(secured.cert)) as connection:
        connection.call("RAIN.CREATE r AMOUNT 1000 COUNT 10")
        assert connection.call("RAIN.GRAB r 1")[0] == "granted"
    answer = run_tool("curl", "-sS", "-f", "--cacert", secured.cert, "-X", "POST",
                      "-H", "X-User: 2", f"https://localhost:{secured.port('http')}"
                      "/v1/rains/r/grab", "--resolve",
                      f"localhost:{secured.port('http')}:127.0.0.1").stdout
    assert json.loads(answer)["outcome"] == "granted"
    client = redis.Redis("127.0.0.1", secured.port("resp"), ssl=True,
                         ssl_ca_certs=str(secured.cert), decode_responses=True)
    assert client.execute_command("RAIN.GRAB", "r", 1)[0] == "repeat"
    client.close()
    answer = run_tool("redis-cli", "-p", secured.port("resp"), "--tls", "--cacert",
                      secured.cert, "PING").stdout
    assert answer.strip() == "PONG"


def test_plain_text_at_a_tls_listener_is_closed(secured):
    with secured.resp() as connection:
        connection.send(b"PING\r\n" * 100)
        assert connection.closed_by_peer()
    assert secured.alive()


def test_old_tls_versions_are_refused(secured):
    context = context_for(secured.cert)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secured.resp(context=context)


def test_sighup_rereads_the_certificate_and_keeps_connections(secured, directory):
    old = serial(secured, secured.cert)
    with secured.resp(context=context_for(secured.cert)) as connection:
        cert, key = certificate(directory, "second")
        os.replace(cert, secured.cert)
        os.replace(key, secured.key)
        secured.signal(signal.SIGHUP)

        def renewed():
            try:
                return serial(secured, secured.cert) != old
            except ssl.SSLError:
                return False

        eventually(renewed, what="the new certificate")
        assert connection.call("PING") == "PONG"


def test_sighup_with_a_broken_certificate_keeps_the_old_one(secured):
    good, old = secured.cert.read_text(), serial(secured, secured.cert)
    trusted = secured.directory / "trusted.pem"
    trusted.write_text(good)
    secured.cert.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    before = len(secured.log())
    secured.signal(signal.SIGHUP)
    eventually(lambda: len(secured.log()) > before, what="a word in the log")
    assert serial(secured, trusted) == old


def test_a_key_that_does_not_fit_is_a_configuration_error(make_node, directory):
    cert, _ = certificate(directory, "one")
    _, key = certificate(directory, "two")
    node = make_node("--tls-cert", cert, "--tls-key", key).launch()
    assert node.wait(20) == 78, node.log_tail()
