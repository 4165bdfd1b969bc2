public import CapacitySimulator
public import StrictYAML

/// Recorded arrivals: a CSV file of time offsets and counts.
///
///     offset_ms,count
///     0,120
///     100,4380
///
/// The first line names the offsets' unit: `offset_us`, `offset_ms` or `offset_s`. A row holds
/// until the next one's offset, the last as long as the one before.
public enum ArrivalFile {
    /// Most rows.
    public static let rowLimit = 100_000

    public static func read(
        _ text: String, file: String
    ) throws(StrictYAMLError) -> ArrivalHistogram {
        func error(_ line: Int, _ reason: String) -> StrictYAMLError {
            StrictYAMLError(file: file, line: line, reason: reason)
        }
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        let units: [Substring: UInt64] = [
            "offset_us,count": 1_000, "offset_ms,count": 1_000_000,
            "offset_s,count": 1_000_000_000,
        ]
        guard let header = lines.first, let unitNs = units[header] else {
            throw error(1, "the first line must be offset_us,count or offset_ms,… or offset_s,…")
        }
        var rows: [ArrivalHistogram.Row] = []
        for (index, line) in lines.enumerated().dropFirst() where !line.isEmpty {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            guard fields.count == 2, let offsetNs = ExactDecimal(fields[0])?.whole(times: unitNs),
                let count = ExactDecimal(fields[1])?.whole(times: 1)
            else { throw error(index + 1, "an offset and a count are needed") }
            guard offsetNs <= 86_400_000_000_000, count <= CapacityScenario.usersLimit else {
                throw error(index + 1, "beyond a day, or \(CapacityScenario.usersLimit) users")
            }
            guard offsetNs > rows.last?.fromNs ?? 0 || rows.isEmpty else {
                throw error(index + 1, "offsets must rise")
            }
            guard rows.count < rowLimit else { throw error(index + 1, "too many rows") }
            rows.append(ArrivalHistogram.Row(fromNs: offsetNs, count: count))
        }
        guard rows.count >= 2 else { throw error(lines.count, "at least two rows are needed") }
        guard rows.contains(where: { $0.count > 0 }) else {
            throw error(lines.count, "nobody arrives")
        }
        return ArrivalHistogram(rows)
    }
}
