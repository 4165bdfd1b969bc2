import EdgeTypes
import Foundation
import Hummingbird
import NIOPosix

/// `/v1/journal`: a node's journal, file by file, for an audit on another machine. It tells the seeds
/// of rains that are open: the token that only reads is not enough.
enum AdminJournal {
    /// Most bytes of one answer.
    static let mostBytes = 4 << 20

    static func add(to router: RouterGroup<BasicRequestContext>, _ runner: NodeRunner) {
        let folder = URL(fileURLWithPath: runner.options.dataDirectory, isDirectory: true)
        router.get("v1/journal") { _, _ in
            AdminJSON.response(try await onThread { try list(folder) })
        }
        router.get("v1/journal/:file") { request, context in
            let name = try context.parameters.require("file")
            guard let place = place(of: name, in: folder) else {
                throw AdminProblem(
                    status: .notFound, code: "not-found", detail: "no file of a journal: \(name)")
            }
            let from = try from(request)
            let bytes = try await onThread { try read(place, from: from) }
            return Response(
                status: .ok, headers: [.contentType: "application/octet-stream"],
                body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
        }
    }

    /// Disks may be slow: neither a loop nor a task waits for one.
    private static func onThread<Answer: Sendable>(
        _ body: @escaping @Sendable () throws -> Answer
    ) async throws -> Answer {
        try await NIOThreadPool.singleton.runIfActive(body)
    }

    /// What a reader elsewhere needs, with its present size.
    private static func list(_ folder: URL) throws -> Value {
        let segments = try FileManager.default.contentsOfDirectory(
            atPath: folder.appendingPathComponent("journal").path)
        let files = (["boot", "sole"] + segments.sorted()).compactMap { name -> Value? in
            guard let place = place(of: name, in: folder),
                let size = try? FileManager.default.attributesOfItem(atPath: place.path)[.size]
                    as? NSNumber
            else { return nil }
            return .map([
                .init("name", .text(name)), .init("bytes", .integer(size.int64Value)),
            ])
        }
        return .map([.init("files", .array(files))])
    }

    /// nil: it is none of the journal's files.
    private static func place(of name: String, in folder: URL) -> URL? {
        if name == "boot" || name == "sole" { return folder.appendingPathComponent(name) }
        let stem = name.hasSuffix(".zst") ? name.dropLast(4) : name[...]
        guard stem.hasSuffix(".log"), name.utf8.count <= 64,
            stem.dropLast(4).utf8.allSatisfy({ (48...57).contains($0) || $0 == 45 })
        else { return nil }
        return folder.appendingPathComponent("journal").appendingPathComponent(name)
    }

    private static func from(_ request: Hummingbird.Request) throws -> UInt64 {
        guard let text = request.uri.queryParameters["from"] else { return 0 }
        guard let from = UInt64(text), from <= UInt64(Int64.max) else {
            throw AdminProblem.badRequest("from is a number of bytes")
        }
        return from
    }

    /// Empty at the end.
    private static func read(_ place: URL, from: UInt64) throws -> [UInt8] {
        guard let file = try? FileHandle(forReadingFrom: place) else {
            // Compressed or removed meanwhile.
            throw AdminProblem(
                status: .notFound, code: "not-found",
                detail: "\(place.lastPathComponent) is not there any more")
        }
        defer { try? file.close() }
        try file.seek(toOffset: from)
        return Array(try file.read(upToCount: mostBytes) ?? Data())
    }
}
