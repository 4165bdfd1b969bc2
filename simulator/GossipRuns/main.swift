import EdgeCluster
import EdgeTypes
import Glibc
import Simulator

// What membership is measured by, as lines to read and as lines of JSON:
//
//     downpour-gossip detection  [nodes] [crashes a world] [first seed] [seeds]
//     downpour-gossip loss       [nodes] [seconds] [first seed] [seeds] [mutant]
//     downpour-gossip pausing    [nodes] [seconds] [first seed] [seeds]
//     downpour-gossip traffic    [seconds]
//     downpour-gossip healing    [nodes] [seconds cut] [first seed] [seeds]
//     downpour-gossip digest     [seed]
//     downpour-gossip all        short versions of all of these
//
// Exit code 1 where a figure is not what it must be.

/// Prints a line at once: runs are long.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func seconds(_ ns: UInt64) -> Double { (Double(ns) / 1e7).rounded() / 100 }

func percentile(_ sorted: [UInt64], _ part: Double) -> UInt64 {
    precondition(!sorted.isEmpty)
    let rank = Int((part * Double(sorted.count)).rounded(.up))
    return sorted[min(max(rank - 1, 0), sorted.count - 1)]
}

struct Runs {
    var isGood = true

    mutating func check(_ holds: Bool, _ what: String) {
        if !holds {
            isGood = false
            say("MUST: \(what)")
        }
    }

    mutating func detection(nodes: Int, crashes: Int, seeds: Range<UInt64>) {
        var all: [UInt64] = []
        var first: [UInt64] = []
        var missed = 0
        for seed in seeds {
            for crash in GossipMeasures.detection(nodes: nodes, crashes: crashes, seed: seed) {
                if let allNs = crash.allNs { all.append(allNs) } else { missed += 1 }
                if let firstNs = crash.firstNs { first.append(firstNs) }
            }
        }
        all.sort()
        first.sort()
        let (half, most) = (seconds(percentile(all, 0.5)), seconds(percentile(all, 0.99)))
        say(
            "detection, \(nodes) nodes, \(all.count + missed) crashes: all know after \(half) s "
                + "(p50), \(most) s (p99), \(seconds(all[all.count - 1])) s (worst), never \(missed); "
                + "first declared after \(seconds(percentile(first, 0.5))) s (p50), "
                + "\(seconds(percentile(first, 0.99))) s (p99)")
        say(
            "{\"measure\":\"detection\",\"nodes\":\(nodes),\"crashes\":\(all.count + missed),"
                + "\"p50\":\(half),\"p99\":\(most),\"missed\":\(missed)}")
        check(missed == 0, "every crash becomes known")
        if nodes == 500 { check(half <= 5 && most <= 8, "p50 ≤ 5 s, p99 ≤ 8 s") }
    }

    mutating func loss(
        nodes: Int, length: UInt64, seeds: Range<UInt64>, mutant: MembershipMutant
    ) {
        var configuration = MembershipConfiguration.lan
        configuration.mutant = mutant
        var deaths = 0
        var datagrams: UInt64 = 0
        var suspicions: UInt64 = 0
        let started = cpuSeconds()
        for seed in seeds {
            let world = GossipMeasures.lossy(
                nodes: nodes, seconds: length, loss: 0.1, seed: seed,
                configuration: configuration)
            let report = world.report
            deaths += report.falseDeathCount
            datagrams += report.datagrams
            suspicions += world.total(\.probesFailed)
            say(
                "seed \(seed): \(report.falseDeathCount) false deaths, "
                    + "\(world.total(\.probesFailed)) false accusations, digest \(report.digest)")
            for death in report.falseDeaths.prefix(3) { say("  \(death)") }
        }
        let spent = cpuSeconds() - started
        let each = (spent * 1e9 / Double(datagrams)).rounded()
        say(
            "10 % loss, \(nodes) nodes × \(length) s × \(seeds.count) seeds: \(deaths) false "
                + "deaths, \(suspicions) false accusations, \(datagrams) datagrams, \(each) ns each"
        )
        say(
            "{\"measure\":\"loss\",\"nodes\":\(nodes),\"seconds\":\(length),\"seeds\":"
                + "\(seeds.count),\"falseDeaths\":\(deaths),\"nsPerDatagram\":\(each)}")
        if mutant == .none { check(deaths == 0, "no false death") }
    }

    mutating func pausing(nodes: Int, length: UInt64, seeds: Range<UInt64>) {
        var off = MembershipConfiguration.lan
        off.mutant = .lifeguardOff
        var with = (deaths: 0, declared: 0)
        var without = (deaths: 0, declared: 0)
        for seed in seeds {
            let good = GossipMeasures.pausing(nodes: nodes, seconds: length, seed: seed).report
            let bad = GossipMeasures.pausing(
                nodes: nodes, seconds: length, seed: seed, configuration: off
            ).report
            with = (with.deaths + good.falseDeathCount, with.declared + good.falseDeclarations)
            without =
                (without.deaths + bad.falseDeathCount, without.declared + bad.falseDeclarations)
            for death in good.falseDeaths.prefix(3) { say("  seed \(seed): \(death)") }
        }
        say(
            "5 % standing still for 5–30 s, \(nodes) nodes × \(length) s × \(seeds.count) seeds: "
                + "healthy members believed dead \(with.deaths) times (declared \(with.declared)); "
                + "Lifeguard off: \(without.deaths) (declared \(without.declared))")
        say(
            "{\"measure\":\"pausing\",\"seeds\":\(seeds.count),\"falseDeaths\":\(with.deaths),"
                + "\"lifeguardOff\":\(without.deaths)}")
        check(with.deaths * 50 <= without.deaths, "at most 2 % of SWIM's false deaths")
        check(with.declared * 50 <= without.declared, "at most 2 % of SWIM's declarations")
    }

    mutating func traffic(length: UInt64) {
        var least = Double.infinity
        var most = 0.0
        for nodes in [50, 100, 200, 500, 1_000, 2_000] {
            let (rate, bytes) = GossipMeasures.traffic(nodes: nodes, seconds: length, seed: 1)
            least = min(least, rate)
            most = max(most, rate)
            say(
                "idle, \(nodes) nodes: \((rate * 1_000).rounded() / 1_000) datagrams a second "
                    + "and node, \((bytes * 10).rounded() / 10) bytes each before sealing")
        }
        say(
            "{\"measure\":\"traffic\",\"least\":\(least),\"most\":\(most),"
                + "\"drift\":\(most / least - 1)}")
        check(most <= 8 && most / least <= 1.1, "≤ 8 a second, drift ≤ 10 %")
    }

    mutating func healing(nodes: Int, cut: UInt64, seeds: Range<UInt64>) {
        for below in [nodes / 2, nodes / 10, 1] where below > 0 {
            for loss in [0, 0.1] {
                var times: [UInt64] = []
                for seed in seeds {
                    times.append(
                        GossipMeasures.healing(
                            nodes: nodes, below: below, cutSeconds: cut, loss: loss, seed: seed)
                            ?? .max / 2)
                }
                times.sort()
                let (half, worst) = (
                    seconds(times[times.count / 2]), seconds(times[times.count - 1])
                )
                say(
                    "\(cut) s of partition healed, \(below) of \(nodes) apart, "
                        + "\(Int(loss * 100)) % loss, \(times.count) seeds: one view after "
                        + "\(half) s (p50), \(worst) s (worst)")
                say(
                    "{\"measure\":\"healing\",\"nodes\":\(nodes),\"below\":\(below),"
                        + "\"loss\":\(loss),\"worst\":\(worst)}")
                check(worst <= 60, "one view within 60 s")
            }
        }
    }
}

let arguments = Array(CommandLine.arguments.dropFirst())
func number(_ index: Int, _ otherwise: UInt64) -> UInt64 {
    index < arguments.count ? UInt64(arguments[index]) ?? otherwise : otherwise
}
func seeds(_ index: Int, _ otherwise: UInt64) -> Range<UInt64> {
    let first = number(index, 1)
    return first..<(first + number(index + 1, otherwise))
}
var runs = Runs()
switch arguments.first {
case "detection":
    runs.detection(
        nodes: Int(number(1, 500)), crashes: Int(number(2, 20)), seeds: seeds(3, 10))
case "loss":
    let mutant = arguments.count > 5 ? MembershipMutant(rawValue: arguments[5]) ?? .none : .none
    runs.loss(
        nodes: Int(number(1, 500)), length: number(2, 3_600), seeds: seeds(3, 100),
        mutant: mutant)
case "pausing":
    runs.pausing(nodes: Int(number(1, 500)), length: number(2, 600), seeds: seeds(3, 5))
case "traffic":
    runs.traffic(length: number(1, 60))
case "healing":
    runs.healing(nodes: Int(number(1, 500)), cut: number(2, 600), seeds: seeds(3, 5))
case "digest":
    say("\(GossipMeasures.reference(seed: number(1, 7)))")
case "all":
    runs.detection(nodes: 500, crashes: 20, seeds: 1..<3)
    runs.loss(nodes: 500, length: 300, seeds: 1..<3, mutant: .none)
    runs.pausing(nodes: 200, length: 300, seeds: 1..<2)
    runs.traffic(length: 30)
    runs.healing(nodes: 200, cut: 600, seeds: 1..<2)
default:
    say("downpour-gossip detection|loss|pausing|traffic|healing|digest|all: see its source")
    exit(64)
}
exit(runs.isGood ? 0 : 1)
