public import NIOSSL
import Synchronization

/// The TLS settings of the client listeners, read from files and read again on demand.
public final class TLSHolder: Sendable {
    public struct ReadError: Error, CustomStringConvertible {
        public var description: String
    }

    public let certificatePath: String
    public let keyPath: String
    private let current: Mutex<NIOSSLContext>

    /// - Throws: where the files cannot be read or do not belong together.
    public init(certificatePath: String, keyPath: String) throws(ReadError) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        current = Mutex(try Self.read(certificatePath, keyPath))
    }

    /// Reads the files again. Connections made from now on use them; on an error the old ones
    /// stay. From any thread.
    public func reload() throws(ReadError) {
        let fresh = try Self.read(certificatePath, keyPath)
        current.withLock { $0 = fresh }
    }

    public var context: NIOSSLContext { current.withLock { $0 } }

    private static func read(
        _ certificate: String, _ key: String
    ) throws(ReadError) -> NIOSSLContext {
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate)
            guard !chain.isEmpty else {
                throw ReadError(description: "\(certificate): holds no certificate")
            }
            let privateKey = try NIOSSLPrivateKey(file: key, format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(privateKey))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = []
            return try NIOSSLContext(configuration: configuration)
        } catch let error as ReadError {
            throw error
        } catch {
            throw ReadError(description: "\(certificate), \(key): \(error)")
        }
    }
}
