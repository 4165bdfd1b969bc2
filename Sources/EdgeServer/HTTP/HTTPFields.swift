import NIOHTTP1

/// The parts of a request's head that matter, found in one pass over its fields.
struct HTTPFields {
    var method = HTTPMethod.GET
    var target = ""
    var hosts = 0
    var authorization: String?
    var idempotencyKey: String?
    var origin: String?
    var user: String?
    var users = 0
    var isForwarded = false
    var isJSON = false
    var hasUpgrade = false
    var expectsContinue = false
    /// As announced; 0 where it is not.
    var contentLength = 0
    private var count = 0
    private var sizeBytes = 0

    init() {}

    init(_ head: HTTPRequestHead) {
        method = head.method
        target = head.uri
        for (name, value) in head.headers {
            count += 1
            sizeBytes += name.utf8.count + value.utf8.count
            add(name, value)
        }
    }

    func isTooLarge(_ limits: ServerLimits) -> Bool {
        count > limits.headerFields || sizeBytes > limits.headerBytes
    }

    /// Lengths tell most names apart: few bytes are compared.
    private mutating func add(_ name: String, _ value: String) {
        switch name.utf8.count {
        case 4: if Self.equal(name, "host") { hosts += 1 }
        case 6:
            if Self.equal(name, "origin") {
                origin = value
            } else if Self.equal(name, "x-user") {
                user = value
                users += 1
            } else if Self.equal(name, "expect") {
                expectsContinue = Self.equal(value, "100-continue")
            }
        case 7: if Self.equal(name, "upgrade") { hasUpgrade = true }
        case 9: if Self.equal(name, "forwarded") { isForwarded = true }
        case 12: if Self.equal(name, "content-type") { isJSON = Self.isJSON(value) }
        case 13: if Self.equal(name, "authorization") { authorization = value }
        case 14:
            if Self.equal(name, "content-length") { contentLength = Int(value) ?? .max }
        case 15:
            if Self.equal(name, "idempotency-key") {
                idempotencyKey = value
            } else if Self.equal(name, "x-forwarded-for") {
                isForwarded = true
            }
        default: break
        }
    }

    /// Compares without regard to the case of ASCII letters.
    ///
    /// - Parameter lower: in lower case.
    private static func equal(_ text: String, _ lower: StaticString) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            guard bytes.count == lower.utf8CodeUnitCount else { return false }
            for index in 0..<bytes.count {
                let byte = bytes[index]
                let folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
                guard folded == lower.utf8Start[index] else { return false }
            }
            return true
        }
    }

    private static func isJSON(_ value: String) -> Bool {
        let type = value.prefix { $0 != ";" }
        return type.trimmingSpaces.lowercased() == "application/json"
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
