import EdgeReconciler
import EdgeStores
import Testing

@Suite("MySQL addresses")
struct MySQLAddressTests {
    @Test("All parts of a URL are read")
    func whole() throws {
        let address = try MySQLAddress(
            "mysql://up%40:p%3A%2f%25@db-1:3307,[::1],db-2/live?tls=verify&ca=/a%20b.pem&timeout=7")
        #expect(address.user == "up@")
        #expect(address.password == MySQLPassword("p:/%"))
        #expect(
            address.endpoints == [
                .init(host: "db-1", port: 3307), .init(host: "::1", port: 3306),
                .init(host: "db-2", port: 3306),
            ])
        #expect(address.database == "live")
        #expect(address.security == .verify)
        #expect(address.authorityFile == "/a b.pem")
        #expect(address.timeoutSeconds == 7)
    }

    @Test(
        "What crosses a network is encrypted unless the URL says otherwise",
        arguments: [
            ("mysql://u@localhost/d", MySQLAddress.Security.off), ("mariadb://u@[::1]/d", .off),
            ("mysql://u@/d?socket=/s", .off), ("mysql://u@db/d", .required),
            ("mysql://u@127.0.0.1,db/d", .required), ("mysql://u@db/d?tls=off", .off),
            ("mysql://u@db/d?ca=/x", .verify),
        ])
    func defaults(_ text: String, _ security: MySQLAddress.Security) throws {
        #expect(try MySQLAddress(text).security == security)
    }

    @Test(
        "A bad URL is refused, and the password is in no message",
        arguments: [
            "mysql:u@h/d", "mysql://h/d", "mysql://u:sEcret@h", "mysql://u:sEcret@h/",
            "mysql://u:sEcret@h:0/d", "mysql://u:sEcret@h:x/d", "mysql://u:sEcret@,h/d",
            "mysql://u:sEcret@::1/d", "mysql://u:sEcret%@h/d", "mysql://u:sEcret%zz@h/d",
            "mysql://u:sEcret%ff@h/d", "mysql://u:sEcret%00@h/d", "mysql://u:sEcret@h/d?tls=on",
            "mysql://u:sEcret@h/d?tls=off&tls=off", "mysql://u:sEcret@h/d?timeout=0",
            "mysql://u:sEcret@h/d?x=1", "mysql://u:sEcret@h/d?tls", "mysql://u:sEcret@h/d?ca=",
            "mysql://u:sEcret@h/d?tls=off&ca=/x", "mysql://u:sEcret@/d", "mysql://u:sEcret@h/a/b",
            "mysql://u:sEcret/x@h/d", "mysql://u:sEcret#x@h/d", "sqlite:x",
        ])
    func refused(_ text: String) {
        do {
            _ = try MySQLAddress(text)
            Issue.record("taken")
        } catch {
            guard case .badURL(let message) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(!message.contains("sEcret") && !message.isEmpty)
        }
    }

    @Test("No description shows the password")
    func secrecy() throws {
        let address = try MySQLAddress("mysql://u:sEcret@h/d")
        var dumped = ""
        dump(address, to: &dumped)
        for text in ["\(address)", String(reflecting: address), dumped] {
            #expect(!text.contains("sEcret"))
        }
    }
}
