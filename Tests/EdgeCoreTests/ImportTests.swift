import Foundation
import Testing

@Suite("The house")
struct ImportTests {
    /// What each target at or below the core may import; nothing else, and no outer module.
    static let allowed: [String: Set<String>] = [
        "EdgeTypes": [],
        "EdgeMemory": ["EdgeTypes", "CPrefetch", "CChecksum", "Glibc"],
        "EdgeDomain": ["EdgeTypes", "EdgeMemory"],
        "EdgeCluster": ["EdgeTypes", "EdgeMemory"],
        "EdgeLedger": ["EdgeTypes", "EdgeMemory"],
        "EdgeWire": ["EdgeTypes", "EdgeMemory"],
        "EdgeCore": [
            "EdgeTypes", "EdgeMemory", "EdgeDomain", "EdgeCluster", "EdgeLedger", "EdgeWire",
        ],
    ]

    /// The module that a line of source imports; nil where it is no import.
    static func module(of line: Substring) -> String? {
        let words = line.split(separator: " ")
        guard let place = words.firstIndex(of: "import"), place <= 1 else { return nil }
        if place == 1
            && !["public", "package", "internal", "private", "@testable"]
                .contains(String(words[0]))
        {
            return nil
        }
        return words.dropFirst(place + 1).first.map(String.init)
    }

    @Test(
        "imports point one way, and no target of the core knows Foundation, NIO or a logger",
        arguments: allowed.keys.sorted())
    func imports(target: String) throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.appendingPathComponent("Sources/\(target)").path
        let files = try FileManager.default.subpathsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".swift") }
        try #require(!files.isEmpty)
        for file in files {
            let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
            for line in text.split(separator: "\n") {
                guard let module = Self.module(of: line) else { continue }
                #expect(
                    Self.allowed[target]?.contains(module) == true,
                    "\(target)/\(file) imports \(module)")
            }
        }
    }

    @Test("the check sees an import, however it is written")
    func sees() {
        #expect(Self.module(of: "import Foundation") == "Foundation")
        #expect(Self.module(of: "public import NIOCore") == "NIOCore")
        #expect(Self.module(of: "// import nothing") == nil)
    }
}
