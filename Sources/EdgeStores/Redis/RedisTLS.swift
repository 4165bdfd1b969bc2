import COpenSSL
import EdgeReconciler
import Glibc

/// TLS over a socket: 1.2 or later, and only with a certificate of a known authority and of the
/// host that was asked for.
final class RedisTLS: RedisTransport {
    private let socket: RedisSocket
    private let context: OpaquePointer
    private let session: OpaquePointer
    /// What came, and what goes. Both belong to the session.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer

    init(_ socket: RedisSocket, _ address: RedisAddress) throws(RedisError) {
        self.socket = socket
        // SAFETY: OpenSSL only fails to make these for want of memory.
        guard let context = SSL_CTX_new(TLS_client_method()), let session = SSL_new(context),
            let incoming = BIO_new(BIO_s_mem()), let outgoing = BIO_new(BIO_s_mem())
        else { preconditionFailure("no memory for TLS") }
        self.context = context
        self.session = session
        self.incoming = incoming
        self.outgoing = outgoing
        SSL_set_bio(session, incoming, outgoing)
        SSL_set_connect_state(session)
        // SSL_set_min_proto_version, a macro.
        _ = SSL_ctrl(session, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
        SSL_set_verify(session, SSL_VERIFY_PEER, nil)
        if let file = address.caFile {
            guard SSL_CTX_load_verify_locations(context, file, nil) == 1 else {
                throw .unreachable("\(file) holds no certificates: \(Self.lastError())")
            }
        } else {
            SSL_CTX_set_default_verify_paths(context)
        }
        expect(address.serverName ?? address.host)
        try shakeHands()
    }

    deinit {
        SSL_free(session)
        SSL_CTX_free(context)
    }

    func close() { socket.close() }

    /// Whom the certificate must name.
    private func expect(_ name: String) {
        var bytes = in6_addr()
        if inet_pton(AF_INET, name, &bytes) == 1 || inet_pton(AF_INET6, name, &bytes) == 1 {
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name)
            return
        }
        SSL_set1_host(session, name)
        // SSL_set_tlsext_host_name, a macro. OpenSSL copies the name.
        var text = Array(name.utf8CString)
        text.withUnsafeMutableBytes { raw in
            _ = SSL_ctrl(
                session, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                raw.baseAddress)
        }
    }

    private static func lastError() -> String {
        var code = ERR_get_error()
        while true {
            let next = ERR_get_error()
            if next == 0 { break }
            code = next
        }
        guard code != 0, let reason = ERR_reason_error_string(code) else { return "unknown" }
        return String(cString: reason)
    }

    private func shakeHands() throws(RedisError) {
        while true {
            ERR_clear_error()
            let status = SSL_do_handshake(session)
            let reason = SSL_get_error(session, status)
            try flush()
            if status == 1 { return }
            guard reason == SSL_ERROR_WANT_READ else {
                let verdict = SSL_get_verify_result(session)
                guard verdict == X509_V_OK else {
                    throw .unreachable(
                        "its certificate: "
                            + String(cString: X509_verify_cert_error_string(verdict)))
                }
                throw .unreachable("TLS: \(Self.lastError())")
            }
            try fetch()
        }
    }

    /// Sends what TLS has made.
    private func flush() throws(RedisError) {
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = bytes.withUnsafeMutableBytes { BIO_read(outgoing, $0.baseAddress, 16_384) }
            guard count > 0 else { return }
            let piece = bytes
            try Self.mapped {
                try piece.withUnsafeBytes { raw in
                    try socket.write(UnsafeRawBufferPointer(rebasing: raw[..<Int(count)]))
                }
            }
        }
    }

    /// Gives TLS what has come.
    private func fetch() throws(RedisError) {
        var bytes = [UInt8](repeating: 0, count: 16_384)
        try Self.mapped {
            let count = try bytes.withUnsafeMutableBytes { try socket.read(into: $0) }
            _ = bytes.withUnsafeBytes { BIO_write(incoming, $0.baseAddress, Int32(count)) }
        }
    }

    /// Closures do not carry typed errors well.
    private static func mapped(_ body: () throws -> Void) throws(RedisError) {
        do { try body() } catch let error as RedisError {
            throw error
        } catch {
            throw .unreachable("\(error)")
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(RedisError) -> Int {
        while true {
            ERR_clear_error()
            let count = SSL_read(session, buffer.baseAddress, Int32(clamping: buffer.count))
            if count > 0 { return Int(count) }
            switch SSL_get_error(session, count) {
            case SSL_ERROR_WANT_READ:
                try flush()
                try fetch()
            case SSL_ERROR_ZERO_RETURN: throw .unreachable("it closed the connection")
            default: throw .unreachable("TLS: \(Self.lastError())")
            }
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(RedisError) {
        var rest = bytes
        while !rest.isEmpty {
            ERR_clear_error()
            let count = SSL_write(
                session, rest.baseAddress, Int32(clamping: min(rest.count, 65_536)))
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[Int(count)...])
                try flush()
                continue
            }
            guard SSL_get_error(session, count) == SSL_ERROR_WANT_READ else {
                throw .unreachable("TLS: \(Self.lastError())")
            }
            try flush()
            try fetch()
        }
    }
}
