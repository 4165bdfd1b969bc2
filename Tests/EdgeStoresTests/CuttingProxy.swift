import Foundation
import Synchronization

/// A relay of TCP that cuts a connection when its client sends a certain text, once armed: before
/// the text reaches the server, or after the server has answered it. It is armed for one cut. And
/// it can be turned to another server, which cuts all connections to the one before.
final class CuttingProxy: @unchecked Sendable {
    // SAFETY: `isArmed` is behind a lock, the rest never changes.
    let port: UInt16
    private let listener: Int32
    private let target: Mutex<UInt16>
    private let links = Mutex<Set<Int32>>([])
    private let text: Data
    private let passesIt: Bool
    private let isArmed = Mutex(false)

    init(to target: UInt16, on text: String, passesIt: Bool) throws {
        self.target = Mutex(target)
        self.text = Data(text.utf8)
        self.passesIt = passesIt
        port = try MariaServer.freePort()
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
        guard Self.with(port, { bind(listener, $0, $1) }) == 0, listen(listener, 16) == 0 else {
            throw MariaServer.Problem(description: "no relay")
        }
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                Thread.detachNewThread { [self] in relay(client) }
            }
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    convenience init(to target: UInt16) throws {
        try self.init(to: target, on: "\u{1}never\u{1}", passesIt: true)
    }

    func turn(to port: UInt16) {
        target.withLock { $0 = port }
        links.withLock { for link in $0 { shutdown(link, Int32(SHUT_RDWR)) } }
    }

    func arm() { isArmed.withLock { $0 = true } }

    private func relay(_ client: Int32) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        links.withLock { _ = $0.insert(client) }
        defer {
            links.withLock { _ = $0.remove(client) }
            close(client)
            close(server)
        }
        guard Self.with(target.withLock({ $0 }), { connect(server, $0, $1) }) == 0 else { return }
        var isCutting = false
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            var waits = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0),
                pollfd(fd: server, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waits, 2, -1) > 0 else { return }
            for (index, (from, to)) in [(client, server), (server, client)].enumerated()
            where waits[index].revents != 0 {
                let count = recv(from, &buffer, buffer.count, 0)
                guard count > 0 else { return }
                if index == 1, isCutting { return }
                let data = Data(buffer[..<count])
                if index == 0, data.range(of: text) != nil,
                    isArmed.withLock({ armed in
                        defer { armed = false }
                        return armed
                    })
                {
                    guard passesIt else { return }
                    isCutting = true
                }
                var sent = 0
                while sent < count {
                    let step = buffer[sent..<count].withUnsafeBytes {
                        send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                    guard step > 0 else { return }
                    sent += step
                }
            }
        }
    }

    private static func with(
        _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        address.sin_port = port.bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
