/// Runs the same twice: whatever differs depends on something that is no part of the seed.
public enum DoubleCheck {
    public struct Difference: Sendable, CustomStringConvertible {
        /// The first event that differs, counted from 1.
        public var event: UInt64
        public var first: String
        public var second: String

        public var description: String {
            "event \(event) differs: first \"\(first)\", then \"\(second)\""
        }
    }

    /// - Returns: the first event that differs between two runs; nil where none does.
    public static func run(_ bundle: RunBundle) -> Difference? {
        let first = bundle.run()
        let second = bundle.run()
        if first.digest == second.digest && first.events == second.events { return nil }
        let same = zip(first.trail, second.trail).prefix { $0 == $1 }.count
        let from = UInt64(same) * World.trailStep
        let lines = [watch(bundle, after: from), watch(bundle, after: from)]
        for index in 0..<max(lines[0].count, lines[1].count) {
            let one = index < lines[0].count ? lines[0][index] : "nothing"
            let other = index < lines[1].count ? lines[1][index] : "nothing"
            if one != other {
                return Difference(event: from + UInt64(index) + 1, first: one, second: other)
            }
        }
        // It did not happen again.
        return Difference(event: from, first: "\(first.digest)", second: "\(second.digest)")
    }

    /// The lines of the events of one block of the trail.
    private static func watch(_ bundle: RunBundle, after from: UInt64) -> [String] {
        let world = bundle.world()
        var lines: [String] = []
        world.lastEvent = from + World.trailStep + 1
        world.trace = { event, timeNs, line in
            if event > from { lines.append("\(event) at \(timeNs) ns: \(line)") }
        }
        world.run()
        return lines
    }
}
