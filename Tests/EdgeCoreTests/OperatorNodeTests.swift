import EdgeTypes
import Testing

@Suite("Operators' commands through a core's step")
struct OperatorNodeTests {
    private let t0 = TestNode.startMs

    @Test("closing returns the rest, and only then shows the seed", arguments: [1, 2, 3])
    func closing(cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.rain("a", fen: 100_000, count: 100, slices: 6))
        let won = node.send((0..<40).map { .grab("a", UserID($0)) })
            .filter { $0.result == .granted }
        let open = node.send(.info("a"))
        #expect(open["state"] == .text("open") && open["seed"] == .null)
        #expect(Books(open).balances && Books(open).granted == Int64(won.count))
        guard case .text(let commitment) = open["commitment"] else {
            Issue.record("no commitment")
            return
        }
        #expect(commitment.count == 64)
        #expect(node.send(.on(.poolClose, "a")).isOK)
        let info = node.send(.info("a"))
        #expect(info["state"] == .text("closed"))
        let little = "0100000000000000020000000000000003000000000000000400000000000000"
        #expect(info["seed"] == .text(little))
        #expect(info["commitment"] == .text(commitment))
        let books = Books(info)
        #expect(books.balances && books.held == 0)
        #expect(books.returned == 100 - Int64(won.count))
        let wonFen = won.reduce(0) { $0 + $1.fen }
        #expect(info.integer("granted_fen") == wonFen)
        #expect(info.integer("returned_fen") == 100_000 - wonFen)
        #expect(node.send(.grab("a", 5_000)).result == .closed)
        #expect(node.send(.on(.poolClose, "a")).isOK, "closing again")
        let entries = node.journal.count
        #expect(node.send(.on(.poolPause, "a")).failure == .badArgument)
        #expect(node.send(.alter("a", "r", limit: 2)).failure == .badArgument)
        #expect(node.journal.count == entries)
    }

    @Test("after a restart the operators of a closed pool are answered", arguments: [1, 2])
    func closedBeforeRestart(cores: Int) throws {
        let node = TestNode(cores: cores)
        node.send(.rain("a", fen: 1_000, count: 10, slices: 3))
        node.send(.on(.poolClose, "a"))
        for restarted in [
            try TestNode(replaying: node.journal, cores: cores, nowMs: t0),
            try node.restartedFromSnapshots(cores: cores),
        ] {
            #expect(restarted.send(.on(.poolClose, "a")).isOK)
            #expect(restarted.send(.on(.poolWarm, "a")).isOK)
            #expect(restarted.send(.rain("a", fen: 1_000, count: 10, slices: 3)).isOK)
            #expect(restarted.send(.info("a"))["state"] == .text("closed"))
        }
    }

    @Test("a slice that lost its tail takes its lease before it seals", arguments: [false, true])
    func leaseBeforeSeal(isOpenLost: Bool) throws {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 10))
        node.send(.on(.poolClose, "a"))
        // Home and slice are on cores of their own: the slice's journal ends earlier.
        var kept: [TestNode.Entry] = []
        for (bytes, entry) in zip(node.journal, try node.entries()) {
            switch entry {
            case .sliceCredited, .sliceControlled, .sliceReturned, .poolTookBack, .poolClosed:
                continue
            case .sliceOpened where isOpenLost: continue
            default: kept.append(bytes)
            }
        }
        let restarted = try TestNode(
            replaying: TestNode.renumbered(kept), nowMs: t0)
        let info = restarted.send(.info("a"))
        #expect(info["state"] == .text("closed"))
        #expect(Books(info).balances && Books(info).returned == 10)
    }

    @Test("a rain closes at its time without a request", arguments: [1, 2])
    func closesByItself(cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.rain("a", fen: 1_000, count: 10, closes: t0 + 1_000, slices: 3))
        node.send(.grab("a", 1))
        #expect(node.deadlineMs.min() == t0 + 1_000)
        node.advance(toMs: t0 + 999)
        #expect(node.send(.info("a"))["state"] == .text("open"))
        node.advance(toMs: t0 + 1_000)
        let info = node.send(.info("a"))
        #expect(info["state"] == .text("closed"))
        #expect(Books(info).returned == 9)
        #expect(info["seed"] != .null)
        #expect(node.deadlineMs.min() == .max)
    }

    @Test("altering terms happens once a request id, and takes effect on every slice")
    func altering() {
        let node = TestNode(cores: 2)
        node.send(.rain("a", fen: 1_000, count: 10, closes: t0 + 1_000, slices: 4))
        #expect(node.send(.alter("a", "r1", opens: t0 + 10)).isOK)
        let entries = node.journal.count
        #expect(node.send(.alter("a", "r1", opens: t0 + 10)).isOK)
        #expect(node.journal.count == entries)
        #expect(node.send(.alter("a", "r1", opens: t0 + 11)).failure == .mismatch)
        #expect(node.send(.alter("a", "r2", closes: t0 + 10)).failure == .badArgument)
        #expect(node.send(.alter("a", "r3", limit: 0)).failure == .badArgument)
        let early = node.send((0..<20).map { .grab("a", UserID($0)) })
        #expect(early.allSatisfy { $0.result == .early && $0.timeMs == t0 + 10 })
        #expect(node.send(.info("a")).integer("opens") == t0 + 10)
        #expect(node.send(.alter("a", "r4", closes: t0 + 5_000)).isOK)
        node.advance(toMs: t0 + 4_999)
        #expect(node.send(.info("a"))["state"] == .text("open"), "the old end is forgotten")
        node.advance(toMs: t0 + 5_000)
        #expect(node.send(.info("a"))["state"] == .text("closed"))
        // A retry of what was done before the end still says so.
        #expect(node.send(.alter("a", "r1", opens: t0 + 10)).isOK)
    }

    @Test("a rain whose end is moved into the past closes")
    func closesInThePast() {
        let node = TestNode()
        node.send(.rain("a", fen: 1_000, count: 10))
        #expect(node.send(.alter("a", "r", closes: t0 - 1)).isOK)
        node.advance(toMs: t0 + 1)
        #expect(node.send(.info("a"))["state"] == .text("closed"))
    }

    @Test("commands on what is not there say so")
    func unknown() {
        let node = TestNode()
        for operation in [
            Operation.poolInfo, .poolWarm, .poolPause, .poolResume, .poolClose,
        ] {
            #expect(node.send(.on(operation, "x")).failure == .noRain)
            #expect(node.send(.on(operation, "x", .stock)).failure == .noStock)
        }
        #expect(node.send(.alter("x", "r", limit: 2)).failure == .noRain)
        #expect(node.send(.refill("x", 1, "r")).failure == .noStock)
    }

    @Test("warming says OK once every slice is there", arguments: [1, 3])
    func warming(cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.rain("a", fen: 1_000, count: 100, opens: t0 + 1_000, slices: 16))
        let entries = node.journal.count
        #expect(node.send(.on(.poolWarm, "a")).isOK)
        #expect(node.journal.count == entries)
        let info = node.send(.info("a"))
        #expect(info["state"] == .text("scheduled"))
        #expect(info.integer("remaining") == 100 && info.integer("slices") == 16)
    }

    @Test("a listing pages through names in byte order, of one family, in one state")
    func listing() {
        let node = TestNode(cores: 2)
        let names: [Text64] = ["0", "-", "A", "a", "a1", "a.b", "b", "rain:1", "rain:2", "z"]
        for name in names.reversed() { node.send(.rain(name, fen: 10, count: 1)) }
        node.send(.stock("shoes", units: 1))
        for core in 0..<2 {
            node.entryCore = core
            for count in [1, 2, 3, 100] as [Int64] {
                var found: [Value] = []
                var cursor: Text64 = ""
                for _ in 0..<20 {
                    let rows = node.send(.list(after: cursor, count: count)).rows
                    guard rows.count == 2, case .text(let next) = rows[0],
                        case .array(let page) = rows[1]
                    else { break }
                    found += page
                    if next == "0" { break }
                    cursor = Text64(next)
                }
                let sorted = names.map(\.description).sorted {
                    $0.utf8.lexicographicallyPrecedes($1.utf8)
                }
                #expect(found == sorted.map { .text($0) }, "pages of \(count)")
            }
        }
        node.send(.on(.poolPause, "a"))
        node.send(.on(.poolClose, "b"))
        for core in 0..<2 {
            node.entryCore = core
            #expect(node.send(.list(state: .paused)).rows[1] == .array([.text("a")]))
            #expect(node.send(.list(state: .closed)).rows[1] == .array([.text("b")]))
            #expect(node.send(.list(.stock)).rows[1] == .array([.text("shoes")]))
            #expect(node.send(.list(state: .scheduled)).rows == [.text("0"), .array([])])
        }
    }

    @Test("a pool can be closed after its last request id was used")
    func requestLimit() {
        let node = TestNode()
        node.send(.rain("a", fen: 10, count: 1))
        var refused = 0
        for index in 0...Limits.operatorRequestsPerPool {
            let answer = node.send(.alter("a", Text64("r\(index)"), limit: 2))
            if answer.failure == .full { refused += 1 } else { #expect(answer.isOK) }
        }
        #expect(refused == 1)
        #expect(node.send(.alter("a", "r7", limit: 2)).isOK, "a retry still finds its result")
        #expect(node.send(.on(.poolPause, "a")).isOK)
        #expect(node.send(.on(.poolClose, "a")).isOK)
        #expect(node.send(.info("a"))["state"] == .text("closed"))
    }

    @Test("a refill adds its units once a request id", arguments: [1, 2])
    func refill(cores: Int) {
        let node = TestNode(cores: cores)
        node.send(.stock("s", units: 0, limit: 100, slices: 3))
        #expect(node.send(.reserve("s", 1)).result == .soldOut)
        #expect(node.send(.refill("s", 10, "f1")).isOK)
        #expect(node.send(.refill("s", 10, "f1")).isOK)
        #expect(node.send(.refill("s", 11, "f1")).failure == .mismatch)
        #expect(node.send(.refill("s", 0, "f2")).failure == .badArgument)
        #expect(node.send(.refill("s", -5, "f2")).failure == .badArgument)
        #expect(node.send(.refill("s", Limits.unitsPerPool, "f2")).failure == .badArgument)
        let info = node.send(.info("s", .stock))
        #expect(info.integer("units") == 10 && info.integer("available") == 10)
        let won = node.send((1...100).map { .reserve("s", UserID($0), 1, "x") })
        #expect(won.count { $0.result == .reserved } == 10)
        node.send(.rain("r", fen: 10, count: 1))
        var rain = Ask.refill("r", 1, "f")
        rain.request.pool = Ask.info("r").request.pool
        #expect(node.send(rain).failure == .badArgument)
    }

    @Test("as many pools as a node knows, and then no more")
    func poolLimit() {
        #if DEBUG
            return
        #else
            let node = TestNode(shards: 64)
            for index in 0..<Limits.pools {
                let name = Text64("p\(index)")
                if !node.send(.rain(name, kind: .equal, fen: 10, count: 1)).isOK {
                    Issue.record("pool \(index)")
                    return
                }
            }
            #expect(node.send(.rain("more", fen: 10, count: 1)).failure == .full)
            #expect(node.send(.rain("p7", kind: .equal, fen: 10, count: 1)).isOK)
            #expect(node.send(.grab("p99999", 1)).result == .granted)
        #endif
    }
}
