import EdgeLedger
import EdgeTypes

/// An event as other systems read it: CloudEvents 1.0 in JSON, the same as the store's `v1_events`.
package enum CloudEvent {
    package static func json(_ row: EventRow) -> String {
        #"{"specversion":"1.0","id":""# + row.name + #"","source":"/downpour","type":"#
            + quoted(row.type) + #","subject":"# + quoted(row.subject.description)
            + #","time":""# + time(row.timeMs)
            + #"","datacontenttype":"application/json","data":"# + row.data + "}"
    }

    /// RFC 3339 in UTC, with milliseconds.
    package static func time(_ ms: UnixMs) -> String {
        var days = ms / 86_400_000
        var rest = ms % 86_400_000
        if rest < 0 {
            rest += 86_400_000
            days -= 1
        }
        // Days to a civil date: Howard Hinnant's `civil_from_days`.
        days += 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let date = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
        let clock =
            "\(padded(rest / 3_600_000, 2)):\(padded(rest / 60_000 % 60, 2)):"
            + "\(padded(rest / 1_000 % 60, 2)).\(padded(rest % 1_000, 3))"
        return "\(date)T\(clock)Z"
    }

    private static func padded(_ value: Int64, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    /// A JSON string.
    package static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
