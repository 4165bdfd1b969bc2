import CMariaDB
import EdgeReconciler

/// What a server's or the client library's errors mean here.
enum MySQLErrors {
    /// Whether the connection is of no use any more.
    static func isLost(_ code: UInt32) -> Bool {
        switch code {
        // The client's: no connection, gone away, lost, TLS, malformed or extended.
        case 2002, 2003, 2005, 2006, 2012, 2013, 2014, 2026, 2027, 2055: true
        // libmariadb's own range.
        case 5000..<6000: true
        // Shutdown, aborted, network read and write errors, killed; 4031: was idle too long.
        case 1053, 1077, 1078, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1189, 1190, 1927,
            4031:
            true
        default: false
        }
    }

    /// - Parameter place: which server, for whoever reads the error.
    static func error(_ code: UInt32, _ message: String, at place: String) -> StoreError {
        let text = "\(place): \(message)"
        switch code {
        case _ where isLost(code): return .unreachable(text)
        // Too many connections, host blocked, cluster not ready, no threads.
        case 1040, 1047, 1129, 1135, 1203: return .unreachable(text)
        case 1205, 1213: return .locked(text)
        case 1021, 1114: return .full(text)
        case 3, 1026, 1030, 1037:
            return message.contains(" 28 ") || message.contains("No space")
                ? .full(text) : .io(text)
        case 1290:
            let words = message.lowercased()
            return words.contains("read-only") || words.contains("read_only")
                ? .readOnly(text) : .engine(code: 1290, text)
        case 1836, 3100: return .readOnly(text)
        case 1033, 1034, 1035, 1194, 1195, 1712, 1877: return .corrupt(text)
        case 1044, 1142, 1143, 1227, 1370:
            return .denied(
                text + ": an administrator grants what is missing (GRANT … ON database.*)")
        case 1045, 1698, 1820, 1862, 3118, 3955:
            return .denied(text + ": look at the user and the password of the store's URL")
        case 1049:
            return .denied(text + ": an administrator makes it (CREATE DATABASE …)")
        case 1130: return .denied(text + ": the server takes no connections from this host")
        case 1251, 1524, 2059, 2061:
            return .denied(text + ": the client library lacks what the user logs in with")
        default: return .engine(code: Int32(truncatingIfNeeded: code), text)
        }
    }

    /// What an error of a COMMIT leaves open: whatever was lost on the way may have been done.
    static func commitError(_ code: UInt32, _ message: String, at place: String) -> StoreError {
        switch code {
        // Interrupted, or an error of the commit's own: the server does not say how far it came.
        case _ where isLost(code), 1180, 1317, 1028, 1030, 1026:
            .unknownOutcome("\(place): \(message)")
        default: error(code, message, at: place)
        }
    }
}
