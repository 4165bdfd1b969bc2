import COpenSSL
import EdgeMemory
public import EdgeTypes
import EdgeWire

/// What a verified token says.
public struct TokenClaims: Hashable, Sendable {
    public var user: UserID
    /// Hash of the home region's name; 0 where the token names none.
    public var region: UInt32
    /// Seconds since 1970 from which on it is worthless.
    public var expiresSeconds: Int64
}

/// Why a token is not believed. Clients are told; nothing of the token is.
public enum TokenFailure: String, Error, Hashable, Sendable {
    case malformed = "the token is malformed"
    case algorithm = "the token is not signed with HS256"
    case unknownKey = "the token names an unknown key"
    case signature = "the token's signature is wrong"
    case expired = "the token has expired"
    case tooEarly = "the token is not valid yet"
    case claims = "the token lacks a numeric sub or an exp"
}

/// Verifies JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256, and with nothing else.
public struct TokenVerifier: Sendable {
    public struct FormatError: Error, CustomStringConvertible {
        public var description: String
    }

    private struct Key {
        /// nil: the only key, whatever a token's `kid` says.
        var kid: String?
        var bytes: [UInt8]
    }

    private let keys: [Key]
    public static let keyCount = 8
    public static let tokenBytes = 4_096

    /// Reads `DOWNPOUR_TOKEN_KEY`: one key, or a ring `kid:key,kid:key…`.
    public init(ring text: String) throws(FormatError) {
        guard !text.isEmpty else { throw FormatError(description: "the token key is empty") }
        guard text.contains(":") else {
            keys = [Key(kid: nil, bytes: Array(text.utf8))]
            return
        }
        var keys: [Key] = []
        for (index, entry) in text.split(separator: ",").enumerated() {
            guard let colon = entry.firstIndex(of: ":") else {
                throw FormatError(description: "token key \(index + 1): not kid:key")
            }
            let kid = String(entry[..<colon])
            let bytes = Array(entry[entry.index(after: colon)...].utf8)
            guard !kid.isEmpty, !bytes.isEmpty else {
                throw FormatError(description: "token key \(index + 1): empty kid or key")
            }
            guard !keys.contains(where: { $0.kid == kid }) else {
                throw FormatError(description: "token key \(index + 1): its kid comes twice")
            }
            keys.append(Key(kid: kid, bytes: bytes))
        }
        guard !keys.isEmpty, keys.count <= Self.keyCount else {
            throw FormatError(description: "a ring holds 1 to \(Self.keyCount) token keys")
        }
        self.keys = keys
    }

    /// One key, as bytes.
    public init(key: [UInt8]) {
        precondition(!key.isEmpty)
        keys = [Key(kid: nil, bytes: key)]
    }

    /// Whether a key is shorter than the 256 bits that RFC 7518 asks for.
    public var hasShortKey: Bool { keys.contains { $0.bytes.count < 32 } }

    /// - Parameter token: the compact form: `header.payload.signature`.
    public func verify(
        _ token: UnsafeRawBufferPointer, nowMs: UnixMs
    ) -> Result<TokenClaims, TokenFailure> {
        do throws(TokenFailure) {
            return .success(try check(token, nowSeconds: nowMs / 1_000))
        } catch {
            return .failure(error)
        }
    }

    private func check(
        _ token: UnsafeRawBufferPointer, nowSeconds: Int64
    ) throws(TokenFailure) -> TokenClaims {
        let dot = UInt8(ascii: ".")
        guard token.count <= Self.tokenBytes,
            let first = token.firstIndex(of: dot), let last = token.lastIndex(of: dot),
            first < last
        else { throw .malformed }
        func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: token[range])
        }
        guard let header = Base64URL.decode(part(0..<first)),
            let payload = Base64URL.decode(part((first + 1)..<last)),
            let signature = Base64URL.decode(part((last + 1)..<token.count)),
            let fields = header.withUnsafeBytes({ JSONReader.object($0) })
        else { throw .malformed }

        var algorithm: String?
        var kid: String?
        for field in fields {
            switch (field.key, field.value) {
            case ("alg", .text(let text)): algorithm = text
            case ("kid", .text(let text)): kid = text
            // Extensions that must be understood, and are not.
            case ("crit", _), ("b64", _): throw .malformed
            default: continue
            }
        }
        guard algorithm == "HS256" else { throw .algorithm }
        try checkSignature(signature, of: part(0..<last), kid: kid)
        // Only now is the payload looked at.
        guard let claims = payload.withUnsafeBytes({ JSONReader.object($0) }) else {
            throw .malformed
        }
        return try read(claims, nowSeconds: nowSeconds)
    }

    private func checkSignature(
        _ signature: [UInt8], of input: UnsafeRawBufferPointer, kid: String?
    ) throws(TokenFailure) {
        var wasTried = false
        for key in keys {
            if let kid, let name = key.kid, name != kid { continue }
            wasTried = true
            var digest = [UInt8](repeating: 0, count: 32)
            var size: UInt32 = 0
            // SAFETY: the digest has room for SHA-256's 32 bytes.
            let made = HMAC(
                EVP_sha256(), key.bytes, Int32(key.bytes.count),
                input.bindMemory(to: UInt8.self).baseAddress, input.count, &digest, &size)
            precondition(made != nil && size == 32)
            if signature.withUnsafeBytes({ ConstantTime.equal($0, digest) }) { return }
        }
        throw wasTried ? .signature : .unknownKey
    }

    private func read(
        _ claims: [(key: String, value: JSONReader.Scalar)], nowSeconds: Int64
    ) throws(TokenFailure) -> TokenClaims {
        var user: UserID?
        var expires: Int64?
        var region: UInt32 = 0
        for claim in claims {
            switch (claim.key, claim.value) {
            case ("sub", .text(let text)), ("sub", .number(let text)):
                user = Self.digits(text).flatMap { UInt64($0) }
            case ("exp", .number(let text)): expires = Self.seconds(text)
            case ("nbf", .number(let text)):
                guard let from = Self.seconds(text) else { throw .claims }
                // Issuers' clocks may run a minute ahead.
                guard from <= nowSeconds + 60 else { throw .tooEarly }
            case ("reg", .text(let text)):
                guard let name = Text64(text.utf8), PoolDraft.isName(name) else {
                    throw .claims
                }
                region = RegionKey.of(name)
            case ("nbf", _), ("reg", _): throw .claims
            default: continue
            }
        }
        guard let user, let expires else { throw .claims }
        guard nowSeconds < expires else { throw .expired }
        return TokenClaims(user: user, region: region, expiresSeconds: expires)
    }

    /// Decimal digits only: no sign, no spaces.
    private static func digits(_ text: String) -> String? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            return nil
        }
        return text
    }

    /// A NumericDate; a fraction of a second is cut off.
    private static func seconds(_ text: String) -> Int64? {
        let whole = text.split(separator: ".", omittingEmptySubsequences: false).first
        guard let whole, let digits = digits(String(whole)), digits.utf8.count <= 15 else {
            return nil
        }
        return Int64(digits)
    }
}
