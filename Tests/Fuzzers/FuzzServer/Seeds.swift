/// Inputs to begin with: requests of every kind, and what nearly is one.
enum Seeds {
    static let all: [[UInt8]] =
        http.flatMap { text in [0, 1, 10].map { [0, $0, 7, 0] + Array(text.utf8) } }
        + resp.flatMap { text in [0, 3, 8].map { [1, $0, 9, 0] + Array(text.utf8) } }

    private static let http: [String] = [
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v1/rains/r1/grab HTTP/1.1\r\nHost: a\r\nX-User: 42\r\nIdempotency-Key: k\r\n\r\n",
        "POST /v1/stock/s/reserve HTTP/1.1\r\nHost: a\r\nX-User: 42\r\nIdempotency-Key: k\r\n"
            + "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"qty\":1}",
        "POST /v1/stock/s/reserve HTTP/1.1\r\nHost: a\r\nX-User: 1\r\nIdempotency-Key: k\r\n"
            + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "9\r\n{\"qty\":1}\r\n0\r\n\r\n",
        "POST /v1/rains/a/grab HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            + "Content-Length: 2\r\nX-User: 3\r\n\r\n{}GET / HTTP/1.1\r\n\r\n",
        "OPTIONS /v1/rains/a/grab HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n",
        "HEAD /v1/rains/a HTTP/1.0\r\nX-User: 3\r\nConnection: keep-alive\r\n\r\n",
        "GET /v1/orders/0000000000000 HTTP/1.1\r\nHost: a\r\nX-User: 3\r\n\r\n",
        "POST /v1/orders/0000000000000/cancel HTTP/1.1\r\nHost: a\r\nX-User: 3\r\n\r\n",
        "GET /v1/stock/s/orders?x=%41 HTTP/1.1\r\nHost: a\r\nX-User: 3\r\nX-User: 3\r\n\r\n",
        "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nabc",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nabc", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}",
        "GET http://a/v1/rains/a/claims HTTP/1.1\r\nHost: a\r\nX-User: 1\r\nConnection: close"
            + "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "DELETE /v1/rains/a HTTP/1.1\r\nHost: a\r\nForwarded: x\r\n\r\n",
    ]

    private static let resp: [String] = [
        "RAIN.CREATE a AMOUNT 100 COUNT 5 SEED " + String(repeating: "0", count: 64)
            + "\r\nRAIN.GRAB a 1\r\nRAIN.GRAB a 2\r\nRAIN.CLAIMS a 1\r\nRAIN.INFO a\r\n",
        "STOCK.CREATE s UNITS 5 PRICE 3 SEED " + String(repeating: "0", count: 64)
            + "\r\nSTOCK.RESERVE s 1 1 r\r\nSTOCK.ORDERS s 1\r\nSTOCK.REFILL s 5 q\r\n",
        "HELLO 3 AUTH a b SETNAME x\r\nPING\r\nPING a\r\nECHO b\r\nRESET\r\nCLIENT GETNAME\r\n",
        "COMMAND\r\n", "COMMAND DOCS ping\r\nCOMMAND COUNT\r\nCONFIG GET *\r\nCLIENT INFO\r\n",
        "*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n*1\r\n$4\r\nQUIT\r\n", "NODES\r\nSHARDS\r\nfoo bar\r\n",
        "RAIN.WARM a\r\nRAIN.PAUSE a\r\nRAIN.RESUME a\r\nRAIN.CLOSE a\r\nRAIN.LIST\r\nINFO x\r\n",
        "RAIN.ALTER a q LIMIT 5\r\nSTOCK.LIST CURSOR 0 COUNT 5\r\nORDER.INFO 0000000000000\r\n",
        "SELECT 0\r\nSELECT 1\r\nAUTH x\r\nCLIENT SETINFO lib-name x\r\n*1\r\n$1\r\n",
    ]
}
