import EdgeMemory
import Glibc
import Simulator
import Testing

/// Units in the last place between two numbers.
private func ulps(_ value: Double, _ reference: Double) -> Double {
    value == reference ? 0 : (value - reference).magnitude / reference.ulp
}

@Suite("Mathematics that is the same on every CPU")
struct DeterministicMathTests {
    /// Seeds are fixed: a failure repeats.
    private let random = RandomSource(seed: 5)

    private func unit(_ index: Int) -> Double {
        RandomSource.unit(random.word(.plan, UInt64(index)))
    }

    @Test("exp is within 1 ulp of the C library's, whose own error is below 1")
    func exponential() {
        var worst = 0.0
        for index in 0..<20_000 {
            let x = (unit(index) - 0.5) * (index % 2 == 0 ? 1_400 : 4)
            worst = max(worst, ulps(DeterministicMath.exp(x), Glibc.exp(x)))
        }
        #expect(worst <= 1)
    }

    @Test("log is within 1 ulp of the C library's, whose own error is below 1")
    func logarithm() {
        var worst = 0.0
        for index in 0..<20_000 {
            let word = random.word(.plan, UInt64(index), 1)
            // Any positive finite number, and numbers from 1/2 to 2.
            let any = Double(bitPattern: word % 0x7ff0_0000_0000_0000)
            let x = index % 2 == 0 ? any : 0.5 + 1.5 * unit(index)
            worst = max(worst, ulps(DeterministicMath.log(x), Glibc.log(x)))
        }
        #expect(worst <= 1)
    }

    @Test("exp and log at the edges")
    func edges() {
        #expect(DeterministicMath.exp(0) == 1)
        #expect(DeterministicMath.exp(710) == .infinity)
        #expect(DeterministicMath.exp(709.78) < .infinity)
        #expect(DeterministicMath.exp(.infinity) == .infinity)
        #expect(DeterministicMath.exp(-746) == 0)
        #expect(DeterministicMath.exp(-.infinity) == 0)
        #expect(DeterministicMath.exp(-745) == .leastNonzeroMagnitude)
        #expect(DeterministicMath.exp(.nan).isNaN)
        #expect(DeterministicMath.log(1) == 0)
        #expect(DeterministicMath.log(0) == -.infinity)
        #expect(DeterministicMath.log(-1).isNaN)
        #expect(DeterministicMath.log(.infinity) == .infinity)
        #expect(DeterministicMath.log(.nan).isNaN)
        #expect(
            DeterministicMath.log(.leastNonzeroMagnitude) == Glibc.log(Double.leastNonzeroMagnitude)
        )
    }

    @Test("the inverse normal distribution is what the normal distribution takes back")
    func inverseNormal() {
        for index in 0..<20_000 {
            // Down to 1e-300.
            let tail = index % 2 == 0 ? unit(index) / 2 + 1e-17 : Glibc.pow(10, -300 * unit(index))
            let p = min(tail, 0.5)
            let z = DeterministicMath.inverseNormal(p)
            // A relative error of z becomes one of p that is z^2 times as large.
            let back = 0.5 * erfc(-z / 2.0.squareRoot())
            #expect((back - p).magnitude <= p * 2e-15 * (1 + z * z), "\(p)")
        }
    }

    @Test("the inverse normal distribution at known places")
    func knownPlaces() {
        // To 20 digits by mpmath: -sqrt(2) * erfinv(1 - 2p), p as the nearest double.
        let known = [
            (0.975, 1.9599639845400538556), (0.99, 2.3263478740408407676),
            (0.25, -0.6744897501960817432), (0.08, -1.4050715603096325447),
            (1e-5, -4.2648907939228246102), (1e-100, -21.273453560965324294),
        ]
        for (p, expected) in known {
            let z = DeterministicMath.inverseNormal(p)
            #expect((z - expected).magnitude <= 1e-15 * expected.magnitude, "\(p)")
        }
        #expect(DeterministicMath.inverseNormal(0.5) == 0)
        #expect(DeterministicMath.inverseNormal(0) == -.infinity)
        #expect(DeterministicMath.inverseNormal(1) == .infinity)
        #expect(DeterministicMath.inverseNormal(-0.1).isNaN)
        #expect(DeterministicMath.inverseNormal(.nan).isNaN)
        for index in 0..<1_000 {
            // Exact, and so is 1 - p.
            let p = Double(index + 1) * 0x1p-11
            let sum = DeterministicMath.inverseNormal(p) + DeterministicMath.inverseNormal(1 - p)
            #expect(sum == 0)
        }
    }

    @Test("every bit is what it is everywhere")
    func pinned() {
        var hash: UInt64 = 0
        for index in 0..<10_000 {
            let u = unit(index)
            for value in [
                DeterministicMath.exp(u * 100 - 50), DeterministicMath.log(u),
                DeterministicMath.inverseNormal(u),
            ] {
                hash = Hash64.keyed(value.bitPattern, salt: hash)
            }
        }
        #expect(hash == 4_567_879_716_116_860_083)
    }
}
