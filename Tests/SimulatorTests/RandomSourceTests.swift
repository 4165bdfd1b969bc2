import Simulator
import Testing

@Suite("Random numbers without state")
struct RandomSourceTests {
    @Test("the same place gives the same number, for good")
    func pinned() {
        let random = RandomSource(seed: 1)
        #expect(random.word(.plan, 0) == random.word(.plan, 0, 0))
        #expect(random.word(.plan, 0) == 10_874_305_771_548_784)
        #expect(random.word(.plan, 0, 1) != random.word(.plan, 1, 0))
        #expect(random.word(.clocks, 0) != random.word(.plan, 0))
        #expect(RandomSource(seed: 2).word(.plan, 0) != random.word(.plan, 0))
    }

    @Test("every bit is set half of the time, along counters, entities and seeds")
    func bits() {
        let draws = 4_096
        for axis in 0..<3 {
            var counts = [Int](repeating: 0, count: 64)
            for index in 0..<UInt64(draws) {
                let word =
                    switch axis {
                    case 0: RandomSource(seed: 7).word(.arrivals, 3, index)
                    case 1: RandomSource(seed: 7).word(.arrivals, index, 3)
                    default: RandomSource(seed: index).word(.arrivals, 3, 3)
                    }
                for bit in 0..<64 { counts[bit] += Int((word >> UInt64(bit)) & 1) }
            }
            // Six standard deviations of a fair coin.
            for count in counts { #expect(abs(count - draws / 2) < 6 * 32) }
        }
    }
}
