// swift-tools-version: 6.2
import PackageDescription

/// Every target: Swift 6 language mode, warnings as errors.
let common: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Every target but the two that speak to the kernel's raw memory.
let safe: [SwiftSetting] = common + [.strictMemorySafety()]

/// What the Swift runtime counts references by: AllocationCounter stands before it.
let counted = [
    "retain", "retain_n", "release", "release_n", "tryRetain", "bridgeObjectRetain", "bridgeObjectRetain_n",
    "bridgeObjectRelease", "bridgeObjectRelease_n", "weakLoadStrong", "unownedRetain", "unownedRelease",
    "unownedRetainStrong",
]

let package = Package(
    name: "supd",
    products: [
        .executable(name: "supd", targets: ["supd"]),
        .executable(name: "supctl", targets: ["supctl"]),
        .executable(name: "demo-service", targets: ["DemoService"]),
        // For tests alone: a library that they preload into supd.
        .library(name: "SteppedClock", type: .dynamic, targets: ["SteppedClock"]),
    ],
    targets: [
        // The edge of the kernel.
        .target(name: "CPlatform"),
        .target(name: "Platform", dependencies: ["CPlatform"], swiftSettings: common),

        // Pure: text and values in, values out.
        .target(name: "Events", swiftSettings: safe),
        .target(name: "Manifest", swiftSettings: safe),
        .target(name: "Supervision", dependencies: ["Events", "Manifest"], swiftSettings: safe),
        .target(name: "Metrics", swiftSettings: safe),

        // What crosses process boundaries.
        .target(name: "Links", dependencies: ["Platform"], swiftSettings: safe),
        .target(name: "ControlAPI", dependencies: ["Platform"], swiftSettings: safe),
        .target(name: "Logs", dependencies: ["Platform"], swiftSettings: safe),
        .target(name: "Why", dependencies: ["ControlAPI", "Events", "Platform"], swiftSettings: safe),

        // The roles.
        .target(name: "Keeper", dependencies: ["Links", "Platform"], swiftSettings: safe),
        .target(
            name: "Supervisor",
            dependencies: ["ControlAPI", "Events", "Links", "Logs", "Manifest", "Metrics", "Platform", "Supervision"],
            swiftSettings: safe),
        .target(name: "Balancer", dependencies: ["Links", "Platform", "CPlatform"], swiftSettings: common),
        .target(
            name: "Web", dependencies: ["ControlAPI", "Events", "Links", "Platform", "Why"],
            resources: [.embedInCode("Page")], swiftSettings: safe),

        // The programs.
        .executableTarget(
            name: "supd",
            dependencies: ["Balancer", "Keeper", "Links", "Manifest", "Platform", "Supervisor", "Web"],
            swiftSettings: safe),
        .executableTarget(
            name: "supctl", dependencies: ["ControlAPI", "Events", "Logs", "Manifest", "Metrics", "Platform", "Why"],
            swiftSettings: safe),
        .executableTarget(name: "DemoService", dependencies: ["Platform"], swiftSettings: safe),

        // Tests: a folder a target.
        .target(
            name: "TestSupport", dependencies: ["CPlatform", "Platform"], path: "Tests/TestSupport",
            swiftSettings: common),
        // A keeper whose roles are the test itself.
        .executableTarget(
            name: "KeeperHarness", dependencies: ["Keeper", "Platform"], path: "Tests/KeeperHarness",
            swiftSettings: common),
        // A balancer whose allocations and references are counted, in a process of its own.
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .executableTarget(
            name: "AllocationHarness", dependencies: ["AllocationCounter", "Balancer", "Links", "Platform"],
            path: "Tests/AllocationHarness", swiftSettings: common,
            linkerSettings: [.unsafeFlags(counted.flatMap { ["-Xlinker", "--wrap=swift_\($0)"] })]),
        .testTarget(
            name: "PlatformTests", dependencies: ["Platform", "CPlatform", "TestSupport"], swiftSettings: common),
        .testTarget(name: "ManifestTests", dependencies: ["Manifest", "TestSupport"], swiftSettings: common),
        .testTarget(name: "EventsTests", dependencies: ["Events"], swiftSettings: common),
        .testTarget(
            name: "SupervisionTests", dependencies: ["Events", "Supervision", "Manifest", "TestSupport"],
            swiftSettings: common),
        .testTarget(name: "MetricsTests", dependencies: ["Metrics"], swiftSettings: common),
        .testTarget(name: "LinksTests", dependencies: ["Links", "Platform", "TestSupport"], swiftSettings: common),
        .testTarget(
            name: "ControlAPITests", dependencies: ["ControlAPI", "Platform", "TestSupport"], swiftSettings: common),
        .testTarget(name: "LogsTests", dependencies: ["Logs", "Platform", "TestSupport"], swiftSettings: common),
        .testTarget(
            name: "KeeperTests", dependencies: ["Keeper", "KeeperHarness", "Links", "Platform", "TestSupport"],
            swiftSettings: common),
        .testTarget(
            name: "SupervisorTests",
            dependencies: [
                "Supervisor", "ControlAPI", "Events", "Logs", "Manifest", "Metrics", "Supervision", "Links", "Platform",
                "TestSupport",
            ],
            swiftSettings: common),
        .testTarget(
            name: "BalancerTests", dependencies: ["Balancer", "CPlatform", "Links", "Platform", "TestSupport"],
            swiftSettings: common),
        // The real process between raw sockets; also run with HAProxy in its place, by scripts/interop.
        .target(name: "CMatrixSupport", path: "Tests/CMatrixSupport"),
        .executableTarget(
            name: "EchoServer", dependencies: ["CPlatform"], path: "Tests/EchoServer", swiftSettings: common),
        .testTarget(
            name: "BalancerMatrixTests",
            dependencies: ["supd", "CMatrixSupport", "CPlatform", "EchoServer", "Links", "Platform", "TestSupport"],
            swiftSettings: common),
        .testTarget(
            name: "WebTests", dependencies: ["Web", "ControlAPI", "Events", "Links", "Platform", "TestSupport", "Why"],
            swiftSettings: common),
        .testTarget(
            name: "SupctlTests", dependencies: ["supctl", "ControlAPI", "Events", "Platform", "TestSupport", "Why"],
            swiftSettings: common),
        // A wall clock that tests set for the supd that it is preloaded into.
        .target(name: "SteppedClock", path: "Tests/SteppedClock"),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "supd", "supctl", "CMatrixSupport", "DemoService", "ControlAPI", "Events", "Links", "Metrics",
                "Platform", "TestSupport",
            ],
            swiftSettings: common),
    ]
)
