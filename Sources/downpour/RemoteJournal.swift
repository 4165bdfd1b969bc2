import ArgumentParser
import Foundation
import FoundationNetworking

/// The journal of a node on another machine, copied over its admin API into a directory of its own,
/// which goes with this object.
///
/// Only what an audit reads is copied. The node may go on: what it writes meanwhile is not needed.
final class RemoteJournal {
    let path: String
    private let base: String
    private let session = URLSession(configuration: .ephemeral)

    /// Whether `--data` names a node's admin API.
    static func isURL(_ text: String) -> Bool {
        text.hasPrefix("http://") || text.hasPrefix("https://")
    }

    /// Errors: `Exit`, said.
    init(_ url: String) throws {
        base = (url.hasSuffix("/") ? String(url.dropLast()) : url) + "/v1/journal"
        path =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("downpour-audit-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: path + "/journal", withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try FileManager.default.createDirectory(
            atPath: path + "/snapshots", withIntermediateDirectories: true)
    }

    deinit {
        session.invalidateAndCancel()
        try? FileManager.default.removeItem(atPath: path)
    }

    private static let rounds = 4

    /// Copies what is there now. What an earlier call has copied, and has not grown since, stays.
    func copy() throws {
        for _ in 1..<Self.rounds where try copyAll() { return }
        // Segments are compressed or removed all the time: what is missed tells itself.
        _ = try copyAll()
    }

    /// - Returns: false where a file was compressed or removed meanwhile.
    private func copyAll() throws -> Bool {
        let (_, listed) = try get(base)
        let document = try? JSONSerialization.jsonObject(with: listed) as? [String: Any]
        guard let files = document?["files"] as? [[String: Any]] else {
            Console.note("downpour audit: \(base) is no journal")
            throw Exit.unreachable
        }
        var names: Set<String> = []
        for file in files {
            guard let name = file["name"] as? String, !name.contains("/"), !name.hasPrefix("."),
                let bytes = (file["bytes"] as? NSNumber)?.uint64Value
            else { continue }
            let isSegment = name.contains(".log")
            if isSegment { names.insert(name) }
            let place = isSegment ? path + "/journal/" + name : path + "/" + name
            guard try copy(name, to: place, bytes: bytes) else { return false }
        }
        for name in try FileManager.default.contentsOfDirectory(atPath: path + "/journal")
        where !names.contains(name) {
            try FileManager.default.removeItem(atPath: path + "/journal/" + name)
        }
        return true
    }

    private func copy(_ name: String, to place: String, bytes: UInt64) throws -> Bool {
        let known = try? FileManager.default.attributesOfItem(atPath: place)[.size] as? NSNumber
        // A compressed segment is whole and stays as it is.
        if name.hasSuffix(".zst"), known?.uint64Value == bytes { return true }
        guard FileManager.default.createFile(atPath: place, contents: nil),
            let file = FileHandle(forWritingAtPath: place)
        else {
            Console.note("downpour audit: cannot write \(place)")
            throw Exit.failed
        }
        defer { try? file.close() }
        var from: UInt64 = 0
        while from < bytes {
            let (status, data) = try get("\(base)/\(name)?from=\(from)")
            if status == 404 { return false }
            if data.isEmpty { break }
            // Space that is reserved and not written yet need not be.
            if data.contains(where: { $0 != 0 }) {
                try file.seek(toOffset: from)
                try file.write(contentsOf: data)
            }
            from += UInt64(data.count)
        }
        try file.truncate(atOffset: from)
        return true
    }

    /// Waits for the answer: an audit has nothing else to do.
    private func get(_ text: String) throws -> (status: Int, Data) {
        guard let url = URL(string: text) else {
            Console.note("downpour audit: \(text): not a URL")
            throw ExitCode(64)
        }
        var request = URLRequest(url: url, timeoutInterval: 60)
        if let token = ProcessInfo.processInfo.environment["DOWNPOUR_ADMIN_TOKEN"] {
            request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization")
        }
        let answer = Answer()
        session.dataTask(with: request) { data, response, _ in
            answer.take((response as? HTTPURLResponse)?.statusCode ?? 0, data ?? Data())
        }.resume()
        let (status, data) = answer.wait()
        switch status {
        case 200, 404: return (status, data)
        case 401, 403:
            Console.note("downpour audit: \(base) needs the admin token (DOWNPOUR_ADMIN_TOKEN)")
            throw Exit.refused
        default:
            Console.note("downpour audit: no answer from \(base)")
            throw Exit.unreachable
        }
    }

    /// SAFETY: written before the semaphore is signalled, read after.
    private final class Answer: @unchecked Sendable {
        private let done = DispatchSemaphore(value: 0)
        private var content = (status: 0, data: Data())

        func take(_ status: Int, _ data: Data) {
            content = (status, data)
            done.signal()
        }

        func wait() -> (status: Int, Data) {
            done.wait()
            return content
        }
    }
}
