import EdgeTypes
import Foundation
public import Logging

/// Log lines on stderr: text for people, JSON for machines.
public struct NodeLog: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    private let isJSON: Bool
    private let label: String

    static func make(_ options: NodeOptions) -> Logger {
        let level = Logger.Level(rawValue: options.logLevel) ?? .info
        return Logger(label: options.name) { label in
            NodeLog(label: label, level: level, isJSON: options.logFormat == "json")
        }
    }

    init(label: String, level: Logger.Level, isJSON: Bool) {
        self.label = label
        self.isJSON = isJSON
        logLevel = level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let level = event.level
        let message = event.message
        let all = self.metadata.merging(event.metadata ?? [:]) { $1 }
        let pairs = all.sorted { $0.key < $1.key }
        let line: String
        if isJSON {
            var fields: [Value.Field] = [
                .init("time", .integer(SystemClock.now().wallMs)),
                .init("level", .text(level.rawValue)), .init("node", .text(label)),
                .init("message", .text("\(message)")),
            ]
            fields += pairs.map { .init($0.key, .text("\($0.value)")) }
            line = JSONText.of(.map(fields))
        } else {
            let time = Date().formatted(.iso8601)
            line =
                "\(time) \(level) \(label): \(message)"
                + pairs.map { " \($0.key)=\($0.value)" }.joined()
        }
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }
}
