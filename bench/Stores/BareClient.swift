import CMariaDB
import Foundation

/// The peer: libmariadb and nothing else, as a program that only inserts would use it.
final class BareClient {
    private let handle: UnsafeMutablePointer<MYSQL>

    /// - Parameter url: `mysql://user:password@host:port/database`.
    init?(_ url: String) {
        guard let parts = URLComponents(string: url), let made = mysql_init(nil) else { return nil }
        handle = made
        let database = String(parts.path.dropFirst())
        guard
            mysql_real_connect(
                made, parts.host, parts.user, parts.password, database, UInt32(parts.port ?? 3306),
                nil, 0) != nil
        else {
            print(String(cString: mysql_error(made)))
            return nil
        }
        run("DROP DATABASE `\(database)`")
        run("CREATE DATABASE `\(database)`")
        run("USE `\(database)`")
    }

    deinit { mysql_close(handle) }

    func run(_ sql: String) {
        var sql = sql
        let code = sql.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { text in
                mysql_real_query(handle, text.baseAddress, UInt(text.count))
            }
        }
        guard code == 0 else { fatalError(String(cString: mysql_error(handle))) }
    }

    /// Inserts claims, so many a statement, each statement its own transaction.
    func insert(_ rows: Int, atOnce: Int, from first: Int, shards: Int) {
        var sql: [UInt8] = []
        var next = 0
        while next < rows {
            sql.removeAll(keepingCapacity: true)
            sql.append(
                contentsOf:
                    "INSERT INTO claims (grant_id,pool,user,packet,amount,granted_at) VALUES "
                    .utf8)
            for row in next..<min(next + atOnce, rows) {
                if row > next { sql.append(UInt8(ascii: ",")) }
                // The same keys in the same order as the store's: shard by shard in a batch.
                let index = first + row
                let shard = index % shards
                let user = (UInt64(index) &* 2_654_435_761) & 0xffff_ffff
                let key = shard << 48 | index / shards
                sql.append(
                    contentsOf: "(\(key),'double11-main',\(user),\(index),2000,1763700000000)".utf8)
            }
            let code = sql.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) { text in
                    mysql_real_query(handle, text.baseAddress, UInt(text.count))
                }
            }
            guard code == 0 else { fatalError(String(cString: mysql_error(handle))) }
            next += atOnce
        }
    }
}
