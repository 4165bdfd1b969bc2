import EdgeTypes
import Testing

@Suite("What the nodes of a cluster speak")
struct SpokenVersionsTests {
    @Test("the newest that all have said to know, and the oldest while one was not heard")
    func common() {
        var versions = SpokenVersions(own: 1, newest: ProtocolVersion.newest, nodes: 3)
        #expect(versions.spoken().common == ProtocolVersion.oldest)
        #expect(versions.version(of: 0) == nil)
        #expect(versions.spoken().heard == ProtocolVersion.newest, "nobody was heard to be older")
        versions.hear(0, newest: ProtocolVersion.newest)
        versions.hear(2, newest: ProtocolVersion.oldest)
        #expect(versions.spoken().common == ProtocolVersion.oldest)
        #expect(versions.spoken().heard == ProtocolVersion.oldest)
        #expect(versions.spoken(without: [2]).heard == ProtocolVersion.newest)
        versions.hear(2, newest: ProtocolVersion.newest)
        #expect(versions.spoken().common == ProtocolVersion.newest)
        // One that knows more than this executable does not make it write what it does not know.
        versions.hear(0, newest: ProtocolVersion.newest + 1)
        #expect(versions.spoken().common == ProtocolVersion.newest)
        // Somebody went back.
        versions.hear(0, newest: ProtocolVersion.oldest)
        #expect(versions.spoken().common == ProtocolVersion.oldest)
    }

    @Test(
        "a node that joins is an old one until it was heard; one that is gone for good does not count"
    )
    func members() {
        var versions = SpokenVersions(own: 0, newest: ProtocolVersion.newest, nodes: 1)
        #expect(versions.spoken().common == ProtocolVersion.newest)
        versions.grow(nodes: 2)
        #expect(versions.spoken().common == ProtocolVersion.oldest)
        #expect(versions.spoken(without: [1]).common == ProtocolVersion.newest)
        versions.hear(1, newest: ProtocolVersion.newest)
        #expect(versions.spoken().common == ProtocolVersion.newest)
        versions.hear(7, newest: ProtocolVersion.oldest)
        #expect(versions.spoken().common == ProtocolVersion.newest)
    }
}
