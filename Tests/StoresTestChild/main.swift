// Reconciles a random history into a store and says so, until it is done or killed.
// Usage: StoresTestChild STORE SEED STEPS BATCH
import EdgeReconciler
import EdgeStores
import Foundation
import StoresTestSupport

func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

guard CommandLine.arguments.count == 5, let seed = UInt64(CommandLine.arguments[2]),
    let steps = Int(CommandLine.arguments[3]), let entries = Int(CommandLine.arguments[4])
else { exit(64) }
let path = CommandLine.arguments[1]
var shape = History.Shape()
shape.steps = steps
let lanes = History(seed: seed, shape: shape).sources()
var configuration = ReconcilerConfiguration()
configuration.batchEntries = entries
let reconciler = Reconciler(
    configuration: configuration, openSources: { lanes.map { MemorySource($0) } },
    openStore: { try SQLStore(path: path) })
reconciler.start()
let marks = lanes.marks
var told: UInt64 = 0
while true {
    let status = reconciler.status
    if status.appliedBatches > told {
        told = status.appliedBatches
        say("batch \(told)")
    }
    if let error = status.lastError {
        say("error \(error)")
        exit(1)
    }
    if status.watermarks == marks { break }
    usleep(200)
}
guard reconciler.stop() else { exit(1) }
say("done")
