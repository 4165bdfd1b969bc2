import EdgeTypes
import EdgeWire
import Foundation
import Hummingbird

/// A JSON object of a request: every key is known, and asked for by type.
struct AdminBody {
    private var values: [String: Any]

    static let limitBytes = 64 * 1_024

    /// - Parameter keys: all others are refused.
    init(_ request: Hummingbird.Request, keys: Set<String>) async throws {
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: Self.limitBytes)
        } catch {
            throw AdminProblem(
                status: .contentTooLarge, code: "too-large", detail: "at most 64 KiB")
        }
        if buffer.readableBytes == 0 {
            values = [:]
            return
        }
        let parsed = try? JSONSerialization.jsonObject(with: Data(buffer.readableBytesView))
        guard let object = parsed as? [String: Any] else {
            throw AdminProblem.badRequest("a JSON object is expected")
        }
        for key in object.keys.sorted() where !keys.contains(key) {
            throw AdminProblem.badRequest("unknown key \(key)")
        }
        values = object
    }

    func text(_ key: String) throws -> String? {
        guard let value = values[key], !(value is NSNull) else { return nil }
        guard let text = value as? String else {
            throw AdminProblem.badRequest("\(key) is a string")
        }
        return text
    }

    func integer(_ key: String) throws -> Int64? {
        guard let value = values[key], !(value is NSNull) else { return nil }
        guard let number = value as? NSNumber, CFNumberIsWhole(number) else {
            throw AdminProblem.badRequest("\(key) is an integer")
        }
        return number.int64Value
    }

    private func CFNumberIsWhole(_ number: NSNumber) -> Bool {
        let text = String(cString: number.objCType)
        return text != "d" && text != "f" && text != "B"
            || number.doubleValue == number.doubleValue.rounded()
                && abs(number.doubleValue) < 9e15
    }

    func text64(_ key: String) throws -> Text64? {
        guard let text = try text(key) else { return nil }
        guard let made = Text64(text.utf8), !made.isEmpty else {
            throw AdminProblem.badRequest("\(key) is 1 to 64 bytes")
        }
        return made
    }

    func regions() throws -> [RegionShare] {
        guard let value = values["regions"], !(value is NSNull) else { return [] }
        guard let object = value as? [String: NSNumber] else {
            throw AdminProblem.badRequest("regions maps names to weights")
        }
        return try object.keys.sorted().map { name in
            guard let text = Text64(name.utf8), let weight = object[name],
                let whole = UInt32(exactly: weight.int64Value), whole > 0
            else { throw AdminProblem.badRequest("regions maps names to weights") }
            return RegionShare(name: text, weight: whole)
        }
    }
}
