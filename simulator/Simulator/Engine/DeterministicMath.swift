/// Functions whose results are the same on every CPU, bit for bit.
///
/// Built on IEEE 754 addition, subtraction, multiplication, division and square root alone, which
/// are rounded correctly everywhere; a C library's `exp` and `log` differ by version and by which
/// instructions a CPU has. Swift never contracts `a * b + c` into a fused multiply-add of its own
/// accord, and nothing here asks for one.
public enum DeterministicMath {
    /// log(2) in two parts: a multiple of the first by an exponent is exact.
    private static let log2High = 6.931_471_803_691_238_164_90e-01
    private static let log2Low = 1.908_214_929_270_587_700_02e-10

    /// e to the power of x. The error is below 1 unit in the last place; results below
    /// 2^-1022 have the error of their fewer digits. Infinite above 709.78, 0 below -745.13.
    ///
    /// Reduction and rational approximation of fdlibm's `e_exp.c` (Sun Microsystems, 1993).
    public static func exp(_ x: Double) -> Double {
        if x.isNaN { return x }
        if x > 709.782_712_893_383_973_096 { return .infinity }
        if x < -745.133_219_101_941_108_420 { return 0 }
        // The nearest integer; `rounded()` may call a C library.
        let quotient = x * 1.442_695_040_888_963_387_00
        let power = Double(Int(quotient + (quotient < 0 ? -0.5 : 0.5)))
        let high = x - power * log2High
        let low = power * log2Low
        let r = high - low
        let t = r * r
        let slope = polynomial(
            t, 4.138_136_797_057_238_460_39e-08, -1.653_390_220_546_525_153_90e-06,
            6.613_756_321_437_934_361_17e-05, -2.777_777_777_701_559_338_42e-03,
            1.666_666_666_666_660_190_37e-01)
        let c = r - t * slope
        let y = 1 - ((low - (r * c) / (2 - c)) - high)
        return scale(y, by: Int(power))
    }

    /// The natural logarithm. The error is below 1 unit in the last place. -infinity for 0, NaN
    /// below.
    ///
    /// Reduction and polynomial of fdlibm's `e_log.c` (Sun Microsystems, 1993).
    public static func log(_ x: Double) -> Double {
        if x.isNaN || x == .infinity { return x }
        if x <= 0 { return x == 0 ? -.infinity : .nan }
        // `exponent` and `significand` are exact, of subnormal numbers too.
        var power = Double(x.exponent)
        var fraction = x.significand
        if fraction > 1.414_213_562_373_095_048_80 {
            fraction *= 0.5
            power += 1
        }
        let f = fraction - 1
        let s = f / (2 + f)
        let z = s * s
        let w = z * z
        let odd = polynomial(
            w, 0, 0, 1.531_383_769_920_937_332e-01, 2.222_219_843_214_978_396e-01,
            3.999_999_999_940_941_908e-01)
        let even = polynomial(
            w, 0, 1.479_819_860_511_658_591e-01, 1.818_357_216_161_805_012e-01,
            2.857_142_874_366_239_149e-01, 6.666_666_666_666_735_130e-01)
        let rest = w * odd + z * even
        let half = 0.5 * f * f
        return power * log2High - ((half - (s * (half + rest) + power * log2Low)) - f)
    }

    /// The number below which a standard normal variable lies with the given probability.
    /// The relative error is below 1e-15 for probabilities from 1e-300 to 1/2; above, it is that of
    /// 1 minus the probability. Infinite at 0 and 1, NaN outside.
    ///
    /// Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution" (1988),
    /// function PPND16.
    public static func inverseNormal(_ probability: Double) -> Double {
        if !(probability >= 0 && probability <= 1) { return .nan }
        let q = probability - 0.5
        if q.magnitude <= 0.425 {
            let r = 0.180_625 - q * q
            return q * centre(r)
        }
        let tail = q < 0 ? probability : 1 - probability
        if tail == 0 { return q < 0 ? -.infinity : .infinity }
        let r = (-log(tail)).squareRoot()
        let distance = r <= 5 ? near(r - 1.6) : far(r - 5)
        return q < 0 ? -distance : distance
    }

    private static func centre(_ r: Double) -> Double {
        let above = polynomial(
            r, 2.509_080_928_730_122_672_7e+3, 3.343_057_558_358_812_810_5e+4,
            6.726_577_092_700_870_085_3e+4, 4.592_195_393_154_987_145_7e+4,
            1.373_169_376_550_946_112_5e+4, 1.971_590_950_306_551_442_7e+3,
            1.331_416_678_917_843_774_5e+2, 3.387_132_872_796_366_608_0e+0)
        let below = polynomial(
            r, 5.226_495_278_852_854_561_0e+3, 2.872_908_573_572_194_267_4e+4,
            3.930_789_580_009_271_061_0e+4, 2.121_379_430_158_659_586_7e+4,
            5.394_196_021_424_751_107_7e+3, 6.871_870_074_920_579_083_0e+2,
            4.231_333_070_160_091_125_2e+1, 1)
        return above / below
    }

    private static func near(_ r: Double) -> Double {
        let above = polynomial(
            r, 7.745_450_142_783_414_076_40e-4, 2.272_384_498_926_918_458_33e-2,
            2.417_807_251_774_506_117_70e-1, 1.270_458_252_452_368_382_58e+0,
            3.647_848_324_763_204_605_04e+0, 5.769_497_221_460_691_405_50e+0,
            4.630_337_846_156_545_295_90e+0, 1.423_437_110_749_683_577_34e+0)
        let below = polynomial(
            r, 1.050_750_071_644_416_843_24e-9, 5.475_938_084_995_344_946_00e-4,
            1.519_866_656_361_645_719_66e-2, 1.481_039_764_274_800_745_90e-1,
            6.897_673_349_851_000_045_50e-1, 1.676_384_830_183_803_849_40e+0,
            2.053_191_626_637_758_821_87e+0, 1)
        return above / below
    }

    private static func far(_ r: Double) -> Double {
        let above = polynomial(
            r, 2.010_334_399_292_288_132_65e-7, 2.711_555_568_743_487_578_15e-5,
            1.242_660_947_388_078_438_60e-3, 2.653_218_952_657_612_309_30e-2,
            2.965_605_718_285_048_912_30e-1, 1.784_826_539_917_291_335_80e+0,
            5.463_784_911_164_114_369_90e+0, 6.657_904_643_501_103_777_20e+0)
        let below = polynomial(
            r, 2.044_263_103_389_939_785_64e-15, 1.421_511_758_316_445_888_70e-7,
            1.846_318_317_510_054_681_80e-5, 7.868_691_311_456_132_591_00e-4,
            1.487_536_129_085_061_485_25e-2, 1.369_298_809_227_358_053_10e-1,
            5.998_322_065_558_879_376_90e-1, 1)
        return above / below
    }

    /// A polynomial with 5 coefficients, the highest power's first.
    @inline(__always)
    private static func polynomial(
        _ x: Double, _ c4: Double, _ c3: Double, _ c2: Double, _ c1: Double, _ c0: Double
    ) -> Double {
        let upper = (c4 * x + c3) * x + c2
        return (upper * x + c1) * x + c0
    }

    /// A polynomial with 8 coefficients, the highest power's first.
    @inline(__always)
    private static func polynomial(
        _ x: Double, _ c7: Double, _ c6: Double, _ c5: Double, _ c4: Double, _ c3: Double,
        _ c2: Double, _ c1: Double, _ c0: Double
    ) -> Double {
        let upper = (c7 * x + c6) * x + c5
        return polynomial(x, upper, c4, c3, c2, c1) * x + c0
    }

    /// `value` times 2 to the power of `power`, from -1075 to 1024.
    private static func scale(_ value: Double, by power: Int) -> Double {
        // Two factors, as a power of two may be out of range where the product is not.
        let first = power / 2
        return value * twoTo(first) * twoTo(power - first)
    }

    private static func twoTo(_ power: Int) -> Double {
        precondition(power >= -1_022 && power <= 1_023)
        return Double(bitPattern: UInt64(power + 1_023) << 52)
    }
}
