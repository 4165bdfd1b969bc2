import EdgeMemory
import EdgeTypes
import Testing

@testable import EdgeServer

@Suite("Tokens")
struct TokenTests {
    /// RFC 7515, A.1: its key and its token.
    static let rfcKey =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    static let rfcToken =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        + ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    static func decode(_ text: String) -> [UInt8] {
        Array(text.utf8).withUnsafeBytes { Base64URL.decode($0) } ?? []
    }

    private func verify(
        _ verifier: TokenVerifier, _ token: String, nowMs: Int64 = 1_000_000
    ) -> Result<TokenClaims, TokenFailure> {
        Array(token.utf8).withUnsafeBytes { verifier.verify($0, nowMs: nowMs) }
    }

    private let verifier: TokenVerifier
    private let key = Array("0123456789abcdef0123456789abcdef".utf8)

    init() { verifier = TokenVerifier(key: key) }

    private func sign(
        _ payload: String, header: String = #"{"alg":"HS256"}"#, key: [UInt8]? = nil
    ) -> String { TokenSigner.sign(payload, header: header, key: key ?? self.key) }

    @Test("the example of RFC 7515 has a right signature, and no user")
    func example() {
        let verifier = TokenVerifier(key: Self.decode(Self.rfcKey))
        #expect(verify(verifier, Self.rfcToken) == .failure(.claims))
        let other = TokenVerifier(key: Self.decode(Self.rfcKey).map { $0 ^ 1 })
        #expect(verify(other, Self.rfcToken) == .failure(.signature))
        for index in [0, 50, Self.rfcToken.utf8.count - 1] {
            var bytes = Array(Self.rfcToken.utf8)
            bytes[index] = bytes[index] == 0x41 ? 0x42 : 0x41
            let changed = String(decoding: bytes, as: UTF8.self)
            let result = verify(verifier, changed)
            #expect(result == .failure(.signature) || result == .failure(.malformed))
        }
    }

    @Test("users and regions are read; times are kept")
    func claims() {
        let token = sign(
            #"{"sub":"00042","reg":"hz","exp":2000,"iat":1,"nbf":1050,"x":{"a":[1,null]}}"#)
        #expect(
            verify(verifier, token)
                == .success(
                    TokenClaims(user: 42, region: RegionKey.of("hz"), expiresSeconds: 2_000)))
        #expect(verify(verifier, token, nowMs: 1_999_999).isSuccess)
        #expect(verify(verifier, token, nowMs: 2_000_000) == .failure(.expired))
        #expect(verify(verifier, token, nowMs: 989_000) == .failure(.tooEarly))
        #expect(
            verify(verifier, sign(#"{"sub":18446744073709551615,"exp":2e3}"#)) == .failure(.claims))
        #expect(verify(verifier, sign(#"{"sub":18446744073709551615,"exp":2000.5}"#)).isSuccess)
    }

    @Test(
        "what does not say who and until when is refused",
        arguments: [
            #"{"sub":"42"}"#, #"{"exp":2000}"#, #"{"sub":"4x","exp":2000}"#,
            #"{"sub":"-1","exp":2000}"#, #"{"sub":"18446744073709551616","exp":2000}"#,
            #"{"sub":"42","exp":"2000"}"#, #"{"sub":"","exp":2000}"#, #"{"sub":42,"exp":-1}"#,
            #"{"sub":42,"exp":2000,"reg":7}"#, #"{"sub":42,"exp":2000,"reg":"a b"}"#,
            #"{"sub":42,"exp":2000,"nbf":"1"}"#,
        ])
    func incomplete(_ payload: String) {
        #expect(verify(verifier, sign(payload)) == .failure(.claims))
    }

    @Test("only HS256 counts, whatever the header asks for")
    func algorithms() {
        let payload = #"{"sub":"1","exp":2000}"#
        for header in [#"{"alg":"none"}"#, #"{"alg":"hs256"}"#, #"{"alg":"HS512"}"#, "{}"] {
            #expect(verify(verifier, sign(payload, header: header)) == .failure(.algorithm))
        }
        let twice = #"{"alg":"HS256","alg":"none"}"#
        #expect(verify(verifier, sign(payload, header: twice)) == .failure(.malformed))
        let critical = #"{"alg":"HS256","crit":["b64"]}"#
        #expect(verify(verifier, sign(payload, header: critical)) == .failure(.malformed))
    }

    @Test("the form is strict: parts, padding, spare bits, size")
    func form() {
        let token = sign(#"{"sub":"1","exp":2000}"#)
        #expect(verify(verifier, token).isSuccess)
        for bad in [
            "", ".", "..", "a.b", token + "=", token + ".", "." + token, token + "A",
            String(repeating: "A", count: 5_000) + token,
        ] {
            #expect(!verify(verifier, bad).isSuccess, "\(bad.prefix(20))")
        }
        // 43 digits spell 256 bits and two more, which must be zero: one spelling only.
        let last = token.utf8.last ?? 0
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        let index = alphabet.firstIndex(of: last) ?? 0
        let spare = String(token.dropLast()) + String(UnicodeScalar(alphabet[index | 1]))
        #expect(verify(verifier, spare) == .failure(.malformed))
    }

    @Test("a ring knows its keys by kid, and tries all where a token names none")
    func ring() throws {
        let ring = try TokenVerifier(ring: "k1:first-key,k2:second-key")
        let payload = #"{"sub":"1","exp":2000}"#
        let second = Array("second-key".utf8)
        let named = #"{"alg":"HS256","kid":"k2"}"#
        #expect(verify(ring, sign(payload, header: named, key: second)).isSuccess)
        #expect(verify(ring, sign(payload, key: second)).isSuccess)
        let wrong = #"{"alg":"HS256","kid":"k1"}"#
        #expect(verify(ring, sign(payload, header: wrong, key: second)) == .failure(.signature))
        let unknown = #"{"alg":"HS256","kid":"k3"}"#
        #expect(verify(ring, sign(payload, header: unknown, key: second)) == .failure(.unknownKey))
        #expect(ring.hasShortKey)
        for bad in ["", "a:", ":b", "a:b,c", "a:b,a:c"] {
            #expect(throws: TokenVerifier.FormatError.self) { try TokenVerifier(ring: bad) }
        }
    }

    @Test("random tokens never crash", arguments: 0..<8)
    func random(_ seed: UInt64) {
        var state = seed
        func next(below bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        let token = Array(sign(#"{"sub":"1","exp":2000,"a":"\u00e9\ud83d\ude00"}"#).utf8)
        for _ in 0..<500 {
            var bytes = token
            bytes[next(below: bytes.count)] = UInt8(next(below: 256))
            let result = verify(verifier, String(decoding: bytes, as: UTF8.self))
            #expect(bytes == token || !result.isSuccess, "seed \(seed)")
            var json = Array(#"{"a":[1,{"b":"\u00e9\n"}],"c":-1.5e+3,"d":true}"#.utf8)
            json[next(below: json.count)] = UInt8(next(below: 256))
            _ = json.withUnsafeBytes { JSONReader.object($0) }
        }
    }
}

extension Result {
    fileprivate var isSuccess: Bool { if case .success = self { true } else { false } }
}

@Suite("JSON")
struct JSONReaderTests {
    private func read(_ text: String) -> [String: JSONReader.Scalar]? {
        let fields = Array(text.utf8).withUnsafeBytes { JSONReader.object($0) }
        return fields.map { Dictionary(uniqueKeysWithValues: $0.map { ($0.key, $0.value) }) }
    }

    @Test("one object is read, values as they stand")
    func object() {
        #expect(
            read(#" {"a" : 1.5e3 , "b":"\u00e9\ud83d\ude00\/" ,"c":[[],{}] ,"d":null} "#) == [
                "a": .number("1.5e3"), "b": .text("é😀/"), "c": .nested, "d": .null,
            ])
        #expect(read("{}") == [:])
    }

    @Test(
        "what is not exactly one valid object is nothing",
        arguments: [
            "", "1", "[]", "{", "{}x", "{}{}", #"{"a"}"#, #"{"a":}"#, #"{"a":01}"#, #"{"a":1,}"#,
            #"{"a":1.}"#, #"{"a":.5}"#, #"{"a":+1}"#, #"{"a":1e}"#, #"{a:1}"#, #"{"a":'b'}"#,
            #"{"a":"\x"}"#, #"{"a":"\ud800"}"#, #"{"a":"\udc00"}"#, "{\"a\":\"\n\"}",
            #"{"a":tru}"#, #"{"a":1,"a":2}"#, #"{"a":nan}"#,
        ])
    func invalid(_ text: String) { #expect(read(text) == nil) }

    @Test("nesting is bounded")
    func depth() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(read("{\"a\":\(deep)") == nil)
        let open = String(repeating: "[", count: 15)
        let shut = String(repeating: "]", count: 15)
        #expect(read("{\"a\":\(open)\(shut)}") != nil)
        #expect(read("{\"a\":[\(open)\(shut)]}") == nil)
    }
}

@Suite("Dates and buckets")
struct DateAndBucketTests {
    @Test("dates are those of RFC 9110")
    func dates() {
        #expect(HTTPTexts.date(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPTexts.date(0) == "Thu, 01 Jan 1970 00:00:00 GMT")
        #expect(HTTPTexts.date(951_782_400) == "Tue, 29 Feb 2000 00:00:00 GMT")
        #expect(HTTPTexts.date(4_107_542_399) == "Sun, 28 Feb 2100 23:59:59 GMT")
        #expect(HTTPTexts.date(4_107_542_400) == "Mon, 01 Mar 2100 00:00:00 GMT")
    }

    @Test(
        "a bucket gives its burst at once, then its rate, and a clock that goes back gives nothing")
    func bucket() {
        let limit = RateLimit(perSecond: 4, burst: 3)
        var bucket = TokenBucket(limit, nowMs: 1_000)
        #expect((0..<5).map { _ in bucket.take(limit, nowMs: 1_000) } == [0, 0, 0, 250, 250])
        #expect(bucket.take(limit, nowMs: 1_249) == 1)
        #expect(bucket.take(limit, nowMs: 1_250) == 0)
        #expect(bucket.take(limit, nowMs: 0) == 250)
        #expect(bucket.take(limit, nowMs: 100_000) == 0)
    }

    @Test("users have buckets of their own, in bounded memory")
    func users() {
        let limit = RateLimit(perSecond: 1, burst: 1)
        var buckets = UserBuckets(limit, users: 8)
        #expect(buckets.take(1, nowMs: 1_000) == 0)
        #expect(buckets.take(1, nowMs: 1_000) == 1_000)
        for user in 2..<1_000 { _ = buckets.take(UserID(user), nowMs: 1_001) }
        #expect(buckets.take(1, nowMs: 1_001) == 0, "displaced, and so full again")
    }
}
