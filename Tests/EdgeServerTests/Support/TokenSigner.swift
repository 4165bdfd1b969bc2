import COpenSSL

@testable import EdgeServer

/// Makes tokens as an issuer does.
enum TokenSigner {
    static func sign(_ payload: String, header: String, key: [UInt8]) -> String {
        let input =
            Base64URL.encode(Array(header.utf8)) + "." + Base64URL.encode(Array(payload.utf8))
        let bytes = Array(input.utf8)
        var digest = [UInt8](repeating: 0, count: 32)
        var size: UInt32 = 0
        _ = HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &digest, &size)
        return input + "." + Base64URL.encode(digest)
    }
}
