import EdgeTypes
import Testing

@Suite("Texts of up to 64 bytes")
struct Text64Tests {
    static let seed = UInt64.random(in: 0 ... .max)

    /// Run it with -O too: an optimiser has lost bytes after zero bytes here.
    @Test("keep every byte, zeros and what follows them included")
    func bytes() {
        var random = SampleRandom(seed: Self.seed)
        for _ in 0..<50_000 {
            let count = Int(random.next() % 65)
            let zeros = random.next() % 4
            let bytes = (0..<count).map { _ in
                random.next() % 4 < zeros ? 0 : random.any(UInt8.self)
            }
            let text = Text64(bytes)
            let same = text?.bytes == bytes && text?.count == UInt8(count)
            #expect(same, "seed \(Self.seed): \(bytes)")
            if !same { return }
        }
        #expect(Text64([UInt8](repeating: 1, count: 65)) == nil)
    }
}
