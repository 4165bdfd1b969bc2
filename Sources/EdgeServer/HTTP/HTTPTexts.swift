import EdgeMemory
import EdgeTypes

/// The parts of HTTP answers that are the same for every request, as bytes.
///
/// A class: using it copies nothing. One for each loop.
final class HTTPTexts {
    /// Headers after the status line of JSON answers.
    let json: [UInt8]
    let problem: [UInt8]
    let plain: [UInt8]
    /// `200 OK` with `json`, in one piece.
    let okJSON: [UInt8]
    private var dateSecond: Int64 = -1
    private var date: [UInt8] = []

    init(_ settings: ServerShared.Settings) {
        let node = "Downpour-Node: \(settings.profile.name)\r\n"
        let fresh = "Cache-Control: no-store\r\n"
        json = Array("\(node)\(fresh)Content-Type: application/json\r\n".utf8)
        problem = Array("\(node)\(fresh)Content-Type: application/problem+json\r\n".utf8)
        plain = Array("\(node)\(fresh)Content-Type: text/plain; charset=utf-8\r\n".utf8)
        okJSON = Array(HTTPStatusLine.ok.text.description.utf8) + json
    }

    /// Appends the Date header, made anew once a second.
    @inline(__always)
    func appendDate(_ nowMs: UnixMs, to sink: inout ByteSink) {
        let second = nowMs / 1_000
        if second != dateSecond {
            dateSecond = second
            date = Array("Date: \(Self.date(second))\r\n".utf8)
        }
        date.withUnsafeBytes { sink.append($0) }
    }

    /// An HTTP date (RFC 9110, 5.6.7). Days are turned into a date with Howard Hinnant's
    /// `civil_from_days`.
    static func date(_ unixSeconds: Int64) -> String {
        let seconds = max(0, min(unixSeconds, 253_402_300_799))
        let days = seconds / 86_400
        let time = seconds % 86_400
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(weekdays[Int(days % 7)]), \(two(day)) \(months[Int(month - 1)]) \(year) "
            + "\(two(time / 3_600)):\(two(time / 60 % 60)):\(two(time % 60)) GMT"
    }
}
