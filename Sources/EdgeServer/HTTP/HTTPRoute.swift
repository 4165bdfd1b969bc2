import EdgeMemory
import EdgeTypes
import EdgeWire

/// What an HTTP request is for.
enum HTTPRoute: Hashable {
    case grab(Text64)
    case rain(Text64)
    case claims(Text64)
    case reserve(Text64)
    case stock(Text64)
    case orders(Text64)
    case order(OrderID)
    case cancel(OrderID)
    case health
    case ready
    case webSocket
    case unknown
    /// A known path with an id in it that cannot be one.
    case badID

    enum Method: UInt8 {
        case get, post
    }

    var method: Method {
        switch self {
        case .grab, .reserve, .cancel: .post
        case .rain, .claims, .stock, .orders, .order, .health, .ready, .webSocket, .unknown,
            .badID:
            .get
        }
    }

    /// - Parameter target: the request target: an absolute path, perhaps with a query.
    init(target: String) {
        var target = target
        self = target.withUTF8 { HTTPRoute(bytes: UnsafeRawBufferPointer($0)) }
    }

    private init(bytes: UnsafeRawBufferPointer) {
        let end = bytes.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        let path = UnsafeRawBufferPointer(rebasing: bytes[0..<(end ?? bytes.count)])
        if Self.equal(path, "/healthz") {
            self = .health
        } else if Self.equal(path, "/readyz") {
            self = .ready
        } else if let rest = Self.after("/v1/rains/", path) {
            self = Self.pool(rest, verbs: ("/grab", "/claims"), .rain)
        } else if let rest = Self.after("/v1/stock/", path) {
            self = Self.pool(rest, verbs: ("/reserve", "/orders"), .stock)
        } else if let rest = Self.after("/v1/orders/", path) {
            self = Self.order(rest)
        } else {
            self = Self.equal(path, "/v1/ws") ? .webSocket : .unknown
        }
    }

    private static func pool(
        _ rest: UnsafeRawBufferPointer, verbs: (StaticString, StaticString),
        _ family: PoolFamily
    ) -> HTTPRoute {
        let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.count
        let verb = UnsafeRawBufferPointer(rebasing: rest[slash...])
        let which: Int
        if verb.isEmpty {
            which = 0
        } else if equal(verb, verbs.0) {
            which = 1
        } else if equal(verb, verbs.1) {
            which = 2
        } else {
            return .unknown
        }
        let id = UnsafeRawBufferPointer(rebasing: rest[0..<slash])
        guard let name = unescape(id), PoolDraft.isName(name) else { return .badID }
        switch (family, which) {
        case (.rain, 0): return .rain(name)
        case (.rain, 1): return .grab(name)
        case (.rain, _): return .claims(name)
        case (.stock, 0): return .stock(name)
        case (.stock, 1): return .reserve(name)
        case (.stock, _): return .orders(name)
        }
    }

    private static func order(_ rest: UnsafeRawBufferPointer) -> HTTPRoute {
        let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.count
        let verb = UnsafeRawBufferPointer(rebasing: rest[slash...])
        guard verb.isEmpty || equal(verb, "/cancel") else { return .unknown }
        guard let order = OrderID(text: UnsafeRawBufferPointer(rebasing: rest[0..<slash])) else {
            return .badID
        }
        return verb.isEmpty ? .order(order) : .cancel(order)
    }

    private static func after(
        _ prefix: StaticString, _ path: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer? {
        let size = prefix.utf8CodeUnitCount
        guard path.count > size,
            equal(UnsafeRawBufferPointer(rebasing: path[0..<size]), prefix)
        else { return nil }
        return UnsafeRawBufferPointer(rebasing: path[size...])
    }

    private static func equal(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where bytes[index] != text.utf8Start[index] {
            return false
        }
        return true
    }

    /// Undoes percent escapes (`:` may come as `%3A`).
    private static func unescape(_ bytes: UnsafeRawBufferPointer) -> Text64? {
        guard bytes.contains(UInt8(ascii: "%")) else { return Text64(bytes) }
        var plain: [UInt8] = []
        var at = 0
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "%") {
                guard at + 2 < bytes.count, let high = hex(bytes[at + 1]),
                    let low = hex(bytes[at + 2])
                else { return nil }
                plain.append((high << 4) | low)
                at += 3
            } else {
                plain.append(bytes[at])
                at += 1
            }
        }
        return Text64(plain)
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
