import EdgeCluster
import EdgeTypes
import Glibc
import Simulator

var scenario = GossipScenario()
let args = CommandLine.arguments.dropFirst().map { $0 }
scenario.nodes = Int(args[0])!
scenario.durationNs = UInt64(args[1])! * 1_000_000_000
scenario.loss = Double(args[2])!
scenario.pausing = Double(args[3])!
if args.count > 4 { scenario.configuration.mutant = MembershipMutant(rawValue: args[4])! }
var t0 = timespec()
clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0)
let world = GossipWorld(scenario, seed: 1)
world.run()
var t1 = timespec()
clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1)
let s = Double(t1.tv_sec - t0.tv_sec) + Double(t1.tv_nsec - t0.tv_nsec) / 1e9
let r = world.report
print("cpu \(s) s, datagrams \(r.datagrams), events \(r.events), ns/datagram \(s * 1e9 / Double(r.datagrams))")
print("per node and s: \(Double(r.datagrams) / Double(scenario.nodes) / Double(scenario.durationNs / 1_000_000_000)) bytes \(r.datagramBytes / max(1, r.datagrams)) streams \(r.streamMessages) \(r.streamBytes) largest \(r.largestDatagram)")
print("false deaths \(r.falseDeathCount) declared \(r.falseDeclarations) ofPausing \(r.deathsOfPausing) malformed \(r.malformed) agreed \(String(describing: r.agreedNs)) now \(world.doAgree) digest \(r.digest)")
print("susp \(world.total(\.suspicions)) conf \(world.total(\.confirmations)) declared \(world.total(\.deathsDeclared)) refut \(world.total(\.refutations)) probes \(world.total(\.probes)) failed \(world.total(\.probesFailed)) ind \(world.total(\.indirectProbes)) checks \(world.total(\.checks)) exch \(world.total(\.exchanges)) same \(world.total(\.exchangesSame)) slept \(world.total(\.oversleeps)) frozen \(r.mostFrozen)")
