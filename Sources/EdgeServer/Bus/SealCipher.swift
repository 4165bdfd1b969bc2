import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) in one direction, on a context that is used again and again.
///
/// The nonce is four zero bytes and a counter, little-endian: whoever seals never uses one twice
/// under one key. Sealing and opening allocate nothing.
final class SealCipher {
    static let tagBytes = 16

    // SAFETY: made once, freed in `deinit`, never handed out.
    private let context: OpaquePointer
    private let seals: Bool
    private var nonce = [UInt8](repeating: 0, count: 12)

    init(seals: Bool) {
        self.seals = seals
        guard let context = EVP_CIPHER_CTX_new() else { preconditionFailure("out of memory") }
        self.context = context
        let direction: Int32 = seals ? 1 : 0
        let result = EVP_CipherInit_ex(context, EVP_aes_256_gcm(), nil, nil, nil, direction)
        precondition(result == 1, "no AES-256-GCM in libcrypto")
    }

    deinit { EVP_CIPHER_CTX_free(context) }

    func setKey(_ key: [UInt8]) {
        precondition(key.count == 32)
        precondition(EVP_CipherInit_ex(context, nil, nil, key, nil, -1) == 1)
    }

    private func begin(_ counter: UInt64, _ header: UnsafeRawBufferPointer) {
        for index in 0..<8 {
            nonce[4 + index] = UInt8(truncatingIfNeeded: counter >> (8 * UInt64(index)))
        }
        precondition(EVP_CipherInit_ex(context, nil, nil, nil, nonce, -1) == 1)
        var length: Int32 = 0
        // SAFETY: with no output, the input is only authenticated; it holds `count` bytes.
        let result = EVP_CipherUpdate(
            context, nil, &length, header.bindMemory(to: UInt8.self).baseAddress,
            Int32(header.count))
        precondition(result == 1)
    }

    /// Encrypts `plain` to the start of `output`, and puts the tag behind it.
    ///
    /// - Parameter header: what the tag covers, too.
    /// - Precondition: the output is longer by the tag; a key is set.
    func seal(
        _ plain: UnsafeRawBufferPointer, header: UnsafeRawBufferPointer, counter: UInt64,
        into output: UnsafeMutableRawBufferPointer
    ) {
        precondition(seals && output.count == plain.count + Self.tagBytes)
        begin(counter, header)
        var length: Int32 = 0
        var rest: Int32 = 0
        let bytes = output.bindMemory(to: UInt8.self).baseAddress.unsafelyUnwrapped
        if !plain.isEmpty {
            // SAFETY: GCM gives as many bytes as it takes, and the output has room for them.
            let result = EVP_CipherUpdate(
                context, bytes, &length, plain.bindMemory(to: UInt8.self).baseAddress,
                Int32(plain.count))
            precondition(result == 1 && length == plain.count)
        }
        // SAFETY: at the end GCM writes nothing more; the tag's 16 bytes are the output's last.
        precondition(EVP_CipherFinal_ex(context, bytes + plain.count, &rest) == 1 && rest == 0)
        let result = EVP_CIPHER_CTX_ctrl(
            context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), bytes + plain.count)
        precondition(result == 1)
    }

    /// Decrypts where the bytes lie.
    ///
    /// - Parameter sealed: the ciphertext, and the tag behind it.
    /// - Returns: whether the tag is right. Where it is not, the bytes are worthless.
    /// - Precondition: a key is set.
    func open(
        _ sealed: UnsafeMutableRawBufferPointer, header: UnsafeRawBufferPointer, counter: UInt64
    ) -> Bool {
        precondition(!seals && sealed.count >= Self.tagBytes)
        begin(counter, header)
        let size = sealed.count - Self.tagBytes
        var length: Int32 = 0
        var rest: Int32 = 0
        let bytes = sealed.bindMemory(to: UInt8.self).baseAddress.unsafelyUnwrapped
        if size > 0 {
            // SAFETY: GCM may work in place.
            let result = EVP_CipherUpdate(context, bytes, &length, bytes, Int32(size))
            precondition(result == 1 && length == size)
        }
        // SAFETY: the tag is the last 16 bytes.
        let result = EVP_CIPHER_CTX_ctrl(
            context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), bytes + size)
        precondition(result == 1)
        return EVP_CipherFinal_ex(context, bytes + size, &rest) == 1
    }
}

/// One direction of a connection: records in order, each with the next counter.
///
/// After `recordsPerKey` records the key is exchanged for its HMAC, on both sides alike: no key
/// sees more than 2^36 blocks, and who takes a key cannot read what was before.
final class SealStream {
    static let recordsPerKey: UInt64 = 1 << 20
    private static let next = Array("downpour bus next".utf8)

    private let cipher: SealCipher
    private var key: [UInt8]
    private var counter: UInt64 = 0
    private let recordsPerKey: UInt64

    init(key: [UInt8], seals: Bool, recordsPerKey: UInt64 = SealStream.recordsPerKey) {
        self.key = key
        self.recordsPerKey = recordsPerKey
        cipher = SealCipher(seals: seals)
        cipher.setKey(key)
    }

    private func advance() -> UInt64 {
        let now = counter
        if now > 0, now % recordsPerKey == 0 {
            key = KeyDerivation.hmac(key, Self.next)
            cipher.setKey(key)
        }
        // 2^64 records do not happen.
        counter += 1
        return now
    }

    func seal(
        _ plain: UnsafeRawBufferPointer, header: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) {
        cipher.seal(plain, header: header, counter: advance(), into: output)
    }

    func open(
        _ sealed: UnsafeMutableRawBufferPointer, header: UnsafeRawBufferPointer
    ) -> Bool {
        cipher.open(sealed, header: header, counter: advance())
    }
}
