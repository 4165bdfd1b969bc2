public import EdgeCluster
import EdgeTypes
import Glibc

/// How a node gossips.
public struct GossipSettings: Sendable {
    /// By whom to join; this node may be among them. Empty: it is a cluster of one, which others
    /// may join.
    public var seeds: [GossipSeed] = []
    public var membership = MembershipConfiguration.lan
    /// Between two looks at what the seeds' names mean, and between two attempts while they mean
    /// nothing.
    public var resolveMs: Int64 = 30_000
    public var resolveRetryMs: Int64 = 1_000
    /// For how long names that mean nothing yet are waited for when others do.
    public var resolveGraceMs: Int64 = 3_000
    /// Most streams of gossip at a time, accepted and opened each.
    public var streams = 64
    /// For how long a stream may last.
    public var streamMs: Int64 = 10_000
    public var connectMs: Int64 = 1_000

    public init() {}
}

/// Where a member may be found: a name with any number of addresses, and a port.
public struct GossipSeed: Hashable, Sendable, CustomStringConvertible {
    public struct FormatError: Error, Hashable, CustomStringConvertible {
        public var description: String
    }

    public var host: String
    public var port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port` or `[IPv6]:port`.
    public init(_ text: String) throws(FormatError) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...]), port > 0
        else { throw FormatError(description: "\(text): not host:port") }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw FormatError(description: "\(text): an IPv6 address needs brackets")
        }
        guard !host.isEmpty, host.utf8.count <= 253 else {
            throw FormatError(description: "\(text): no host")
        }
        self.host = String(host)
        self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// All addresses that the name has now; empty where it has none. Blocks.
    func resolve() -> [MemberAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var found: [MemberAddress] = []
        var entry = list
        while let item = entry?.pointee, found.count < MembershipLimits.seeds {
            // SAFETY: getaddrinfo's addresses are as long as it says.
            let bytes = UnsafeRawBufferPointer(start: item.ai_addr, count: Int(item.ai_addrlen))
            if let address = MemberAddress(socketAddress: bytes, port: port),
                !found.contains(address)
            {
                found.append(address)
            }
            entry = item.ai_next
        }
        return found
    }
}

/// What gossip on this node has refused and lost since its start. Metrics.
public struct GossipCounters: Sendable, Hashable {
    public var datagramsReceived: UInt64 = 0
    public var datagramsSent: UInt64 = 0
    /// What was sealed with no key of the ring, or not at all.
    public var strangers: UInt64 = 0
    /// What had come before.
    public var replays: UInt64 = 0
    public var tooLong: UInt64 = 0
    /// What was genuine and made no sense: a later version's, perhaps.
    public var malformed: UInt64 = 0
    /// Streams beyond `GossipSettings.streams`.
    public var streamsRefused: UInt64 = 0
    /// Times that no seed's name meant anything.
    public var unresolved: UInt64 = 0

    public init() {}
}

extension MemberAddress {
    /// Reads a `sockaddr_in` or a `sockaddr_in6` as Linux lays them out; nil where it is neither.
    ///
    /// By offsets: which module the fields of these types belong to depends on the order in which
    /// a compiler sees Glibc's and SwiftNIO's.
    ///
    /// - Parameter port: in the place of the one that it holds.
    init?(socketAddress bytes: UnsafeRawBufferPointer, port: UInt16? = nil) {
        guard bytes.count >= 16 else { return nil }
        let family = Int32(bytes.loadUnaligned(as: UInt16.self))
        let own = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        switch family {
        case AF_INET:
            let host = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            self.init(ipv4: host, port: port ?? own)
        case AF_INET6:
            guard bytes.count >= 24 else { return nil }
            let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            self.init(hostHigh: high, hostLow: low, port: port ?? own)
        default: return nil
        }
    }
}
