// swift-tools-version: 6.2
import Foundation
import PackageDescription

// DOWNPOUR_CORE_ONLY=1 leaves every dependency out of the manifest: the deterministic core then
// builds and tests in seconds, which is what sanitizers and fuzzers want.
let coreOnly = ProcessInfo.processInfo.environment["DOWNPOUR_CORE_ONLY"] == "1"
// DOWNPOUR_FUZZ=1 adds the fuzzers, which only link under -sanitize=fuzzer: see Tests/fuzz.
let fuzzes = ProcessInfo.processInfo.environment["DOWNPOUR_FUZZ"] == "1"

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
let lifetimes: [SwiftSetting] = strict + [.enableExperimentalFeature("Lifetimes")]

// The core: imports point one way, the four siblings never import each other.
var targets: [Target] = [
    .target(name: "CPrefetch"),
    .target(name: "CChecksum"),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(name: "EdgeTypes", swiftSettings: strict),
    .target(
        name: "EdgeMemory", dependencies: ["EdgeTypes", "CPrefetch", "CChecksum"],
        swiftSettings: lifetimes),
    .target(name: "EdgeDomain", dependencies: ["EdgeMemory", "EdgeTypes"], swiftSettings: strict),
    .target(name: "EdgeCluster", dependencies: ["EdgeMemory", "EdgeTypes"], swiftSettings: strict),
    .target(name: "EdgeLedger", dependencies: ["EdgeMemory", "EdgeTypes"], swiftSettings: strict),
    .target(name: "EdgeWire", dependencies: ["EdgeMemory", "EdgeTypes"], swiftSettings: strict),
    .target(
        name: "EdgeCore",
        dependencies: [
            "EdgeDomain", "EdgeCluster", "EdgeLedger", "EdgeWire", "EdgeMemory", "EdgeTypes",
        ],
        swiftSettings: strict),
    // Files, threads and zstd; no sockets. Servers and stores both read it.
    .target(
        name: "EdgeJournal", dependencies: ["EdgeWire", "EdgeMemory", "EdgeTypes", "CZstd"],
        swiftSettings: strict),

    // From journal to store, apart from threads and stores.
    .target(
        name: "EdgeReconciler",
        dependencies: ["EdgeJournal", "EdgeLedger", "EdgeWire", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),
    // How a node comes back, in the server and in the simulator.
    .target(
        name: "EdgeRecovery",
        dependencies: ["EdgeCore", "EdgeJournal", "EdgeWire", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),

    // The simulator: virtual clocks, disks, networks and stores around the same core.
    .target(
        name: "Simulator",
        dependencies: [
            "EdgeRecovery", "EdgeCore", "EdgeReconciler", "EdgeJournal", "EdgeLedger", "EdgeWire",
            "EdgeDomain", "EdgeCluster", "EdgeMemory", "EdgeTypes",
        ],
        path: "simulator/Simulator", swiftSettings: strict),
    .executableTarget(
        name: "downpour-swarm", dependencies: ["Simulator", "EdgeTypes"],
        path: "simulator/Swarm", swiftSettings: strict),
    .executableTarget(
        name: "downpour-replication", dependencies: ["Simulator", "EdgeTypes"],
        path: "simulator/ReplicationRuns", swiftSettings: strict),
    // Measures of membership.
    .executableTarget(
        name: "downpour-gossip", dependencies: ["Simulator", "EdgeCluster", "EdgeTypes"],
        path: "simulator/GossipRuns", swiftSettings: strict),
    .testTarget(
        name: "SimulatorTests",
        dependencies: [
            "Simulator", "EdgeRecovery", "EdgeCore", "EdgeJournal", "EdgeWire", "EdgeDomain",
            "EdgeCluster", "EdgeMemory", "EdgeTypes",
        ],
        swiftSettings: strict),

    .executableTarget(
        name: "downpour-engine",
        dependencies: ["EdgeCore", "EdgeDomain", "EdgeMemory", "EdgeTypes"], path: "bench/Engine",
        swiftSettings: strict),
    .executableTarget(
        name: "downpour-events-bench", dependencies: ["Simulator", "EdgeMemory"],
        path: "bench/Events", swiftSettings: strict),
    .executableTarget(
        name: "downpour-placement-bench", dependencies: ["EdgeCluster"],
        path: "bench/Placement", swiftSettings: strict),

    .testTarget(
        name: "EdgeMemoryTests", dependencies: ["EdgeMemory", "EdgeTypes"], swiftSettings: strict),
    .testTarget(
        name: "EdgeDomainTests", dependencies: ["EdgeDomain", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),
    .testTarget(
        name: "EdgeClusterTests", dependencies: ["EdgeCluster", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),
    .testTarget(
        name: "EdgeLedgerTests", dependencies: ["EdgeLedger", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),
    .testTarget(
        name: "EdgeWireTests", dependencies: ["EdgeWire", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),
    .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
    .executableTarget(
        name: "AllocationTest",
        dependencies: [
            "CAllocationCounter", "EdgeCore", "EdgeWire", "EdgeMemory", "EdgeTypes",
        ],
        path: "Tests/AllocationTest", swiftSettings: strict),
    .testTarget(
        name: "EdgeCoreTests",
        dependencies: [
            "EdgeCore", "EdgeDomain", "EdgeCluster", "EdgeWire", "EdgeMemory",
            "EdgeTypes",
        ],
        swiftSettings: strict),
    .executableTarget(
        name: "JournalChild",
        dependencies: ["EdgeJournal", "EdgeWire", "EdgeMemory", "EdgeTypes"],
        path: "Tests/JournalChild", swiftSettings: strict),
    .testTarget(
        name: "EdgeJournalTests",
        dependencies: ["JournalChild", "EdgeJournal", "EdgeWire", "EdgeMemory", "EdgeTypes"],
        swiftSettings: strict),
]
var dependencies: [Package.Dependency] = []
var products: [Product] = []

if !coreOnly {
    dependencies = [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ]
    products = [.executable(name: "downpour", targets: ["downpour"])]
    targets += [
        .systemLibrary(
            name: "CMariaDB", pkgConfig: "libmariadb", providers: [.apt(["libmariadb-dev"])]),
        .systemLibrary(
            name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(
            name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(
            name: "EdgeStores",
            dependencies: [
                "EdgeReconciler", "EdgeJournal", "EdgeLedger", "EdgeWire", "EdgeDomain",
                "EdgeMemory", "EdgeTypes", "CMariaDB", "CHiredis", "COpenSSL",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ],
            swiftSettings: strict),
        .target(
            name: "EdgeServer",
            dependencies: [
                "EdgeRecovery", "EdgeCore", "EdgeJournal", "EdgeReconciler", "EdgeStores",
                "EdgeLedger", "EdgeWire", "EdgeDomain", "EdgeCluster", "EdgeMemory", "EdgeTypes",
                "COpenSSL",
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "downpour",
            dependencies: [
                "EdgeServer", "EdgeCore", "EdgeCluster", "EdgeStores", "EdgeReconciler",
                "EdgeJournal", "EdgeLedger", "EdgeWire", "EdgeDomain", "EdgeMemory", "EdgeTypes",
                "COpenSSL", "ScenarioFiles", "CapacitySimulator", "Simulator", "TopologyFiles",
                "StrictYAML",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Yams", package: "Yams"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict),

        .target(
            name: "CapacitySimulator",
            dependencies: [
                "Simulator", "EdgeCore", "EdgeDomain", "EdgeCluster", "EdgeMemory", "EdgeTypes",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            path: "simulator/Capacity", swiftSettings: strict),
        .target(
            name: "ScenarioFiles",
            dependencies: [
                "StrictYAML", "CapacitySimulator", "Simulator", "EdgeTypes",
            ],
            path: "simulator/ScenarioFiles", swiftSettings: strict),
        // Files that people write: scenarios and topologies.
        .target(
            name: "StrictYAML", dependencies: [.product(name: "Yams", package: "Yams")],
            swiftSettings: strict),
        .target(
            name: "TopologyFiles", dependencies: ["StrictYAML", "EdgeCluster", "EdgeTypes"],
            swiftSettings: strict),
        .testTarget(
            name: "TopologyFileTests",
            dependencies: ["TopologyFiles", "StrictYAML", "EdgeCluster"], swiftSettings: strict),
        .testTarget(
            name: "CapacityTests",
            dependencies: [
                "ScenarioFiles", "StrictYAML", "CapacitySimulator", "Simulator", "EdgeCluster",
                "EdgeMemory", "EdgeTypes",
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "downpour-store-bench",
            dependencies: [
                "EdgeStores", "EdgeReconciler", "EdgeLedger", "EdgeMemory", "EdgeTypes", "CMariaDB",
            ],
            path: "bench/Stores", swiftSettings: strict),
        .target(
            name: "StoresTestSupport",
            dependencies: [
                "EdgeStores", "EdgeReconciler", "EdgeLedger", "EdgeMemory", "EdgeTypes",
            ],
            path: "Tests/StoresTestSupport", swiftSettings: strict),
        .executableTarget(
            name: "StoresTestChild",
            dependencies: ["StoresTestSupport", "EdgeStores", "EdgeReconciler"],
            path: "Tests/StoresTestChild", swiftSettings: strict),
        .testTarget(
            name: "EdgeServerTests",
            dependencies: [
                "EdgeServer", "EdgeWire", "EdgeCluster", "EdgeJournal", "EdgeMemory", "EdgeTypes",
                "COpenSSL",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "EdgeStoresTests",
            dependencies: [
                "EdgeStores", "EdgeReconciler", "EdgeJournal", "EdgeLedger", "EdgeWire",
                "EdgeMemory", "EdgeTypes", "Simulator", "StoresTestSupport", "StoresTestChild",
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: strict),
    ]
}

if fuzzes {
    func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
        .executableTarget(
            name: name, dependencies: dependencies + ["FuzzSupport", "EdgeMemory", "EdgeTypes"],
            path: "Tests/Fuzzers/\(name)", swiftSettings: strict)
    }
    targets += [
        .target(name: "CFuzz", path: "Tests/Fuzzers/CFuzz"),
        .target(
            name: "FuzzSupport", dependencies: ["CFuzz"], path: "Tests/Fuzzers/FuzzSupport",
            swiftSettings: strict),
        fuzzer("FuzzRESP", ["EdgeWire"]),
        fuzzer("FuzzJournal", ["EdgeJournal", "EdgeWire"]),
        fuzzer("FuzzReplay", ["EdgeCore", "EdgeWire"]),
        fuzzer("FuzzBus", ["EdgeWire"]),
    ]
    if !coreOnly {
        targets.append(
            fuzzer(
                "FuzzServer",
                [
                    "EdgeServer", "EdgeCore", "EdgeWire",
                    .product(name: "NIOCore", package: "swift-nio"),
                    .product(name: "NIOEmbedded", package: "swift-nio"),
                ]))
    }
}

let package = Package(
    name: "downpour", products: products, dependencies: dependencies, targets: targets,
    cLanguageStandard: .c11)
