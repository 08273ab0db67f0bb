// A real keeper for tests. `keeper SOCKET [old] [nofile:N] [fault:CALL:N:ERRNO …]` runs one whose roles are this program again;
// `role NAME SOCKET` is such a role: it hands its links to the test that listens on SOCKET, and stays until the test
// closes the connection or says how to end. `trial` is what a keeper tries before an upgrade. HARNESS_BREAKS=version in the
// environment makes an image that was upgraded to find tables of a version that it cannot read.
import Foundation
import Glibc
import Keeper
import Platform

func fail(_ text: String) -> Never {
    DaemonLog.error("harness: \(text)")
    exit(64)
}

func connectTo(_ path: String) -> PacketSocket {
    let number = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    let result = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    if result != 0 { fail("cannot connect to \(path): \(errorMessage(errno))") }
    return PacketSocket(Descriptor(owning: number))
}

func runRole(_ name: String, _ path: String) throws -> Never {
    let test = connectTo(path)
    var links = [Descriptor(owning: 3)]
    if name == "balancer" { links.append(Descriptor(owning: 4)) }
    _ = try test.send(Array("\(name) \(getpid())".utf8), descriptors: links)
    links = []
    var byte: UInt8 = 0
    while true {
        let count = recv(test.descriptor.raw, &byte, 1, 0)
        // One byte is the code to end with.
        if count != -1 { exit(count == 0 ? 0 : Int32(byte)) }
    }
}

/// Answers as supd does.
func runTrial() throws -> Never {
    let inherited = try InheritedDescriptors([TrialDescriptor.answer])
    let state = try KeeperState(MemoryFile.contents(ofDescriptor: TrialDescriptor.state, limit: KeeperState.limit))
    let manifest = (try? MemoryFile.contents(ofDescriptor: TrialDescriptor.manifest, limit: 100)) ?? []
    let refusal = String(decoding: manifest, as: UTF8.self)
    let answer = TrialAnswer(
        nonce: state.nonce, version: "harness", failure: refusal.hasPrefix("refuse") ? refusal : nil)
    let socket = PacketSocket(try inherited.descriptor(TrialDescriptor.answer))
    _ = try socket.send([UInt8](JSONEncoder().encode(answer)))
    exit(0)
}

/// Changes the version of the tables that the image before has left.
func breakTables(_ environment: [String: String]) throws {
    guard environment["HARNESS_BREAKS"] == "version",
        let number = environment[KeeperState.variable].flatMap({ Int32($0) })
    else { return }
    let text = String(
        decoding: try MemoryFile.contents(ofDescriptor: number, limit: KeeperState.limit), as: UTF8.self)
    // The image before finds its own again.
    let (from, to) = environment[KeeperState.failureVariable] == nil ? (1, 9) : (9, 1)
    let broken = text.replacingOccurrences(of: "\"version\":\(from)", with: "\"version\":\(to)")
    let file = try MemoryFile(received: Descriptor(owning: dup(number)))
    try file.write(Array(broken.utf8), at: 0)
}

func runHarness(_ path: String, _ options: ArraySlice<String>) -> Int32 {
    var environment: [String: String] = [:]
    var whole = ProcessInfo.processInfo.environment
    do { try breakTables(whole) } catch { fail("cannot break the tables: \(error)") }
    let resumed = ResumedState.take(from: &whole, arguments: CommandLine.arguments, processID: getpid())
    for name in ["PATH", "NOTIFY_SOCKET", "WATCHDOG_USEC", "SUPD_TEST"] {
        if let value = Platform.environment(name) { environment[name] = value }
    }
    var configuration = KeeperConfiguration(
        supervisorArguments: ["harness", "role", "supervisor", path],
        balancerArguments: ["harness", "role", "balancer", path], environment: environment, scope: path,
        processID: getpid())
    configuration.ownArguments = CommandLine.arguments
    configuration.ownEnvironment = whole.map { "\($0.key)=\($0.value)" }
    configuration.trialArguments = ["harness", "trial"]
    configuration.program = KeeperProgram(
        supervisorConfiguration: "", path: ProgramImage.running().path, locks: [])
    if let program = resumed?.state?.program { configuration.program = program }
    var faults: [String: [Int: Int32]] = [:]
    for option in options {
        let parts = option.split(separator: ":").map(String.init)
        switch parts.count {
        case 1 where option == "old": configuration.usesOldKernelPaths = true
        case 2 where parts[0] == "nofile":
            guard let limit = UInt(parts[1]) else { fail("bad limit \(option)") }
            var setting = rlimit(rlim_cur: limit, rlim_max: limit)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &setting)
        case 4:
            guard let count = Int(parts[2]), let code = Int32(parts[3]) else { fail("bad fault \(option)") }
            faults[parts[1], default: [:]][count] = code
        default: fail("unknown option \(option)")
        }
    }
    let table = faults
    return FaultPlan.$current.withValue(FaultPlan { call, count in table[call]?[count] }) {
        runKeeper(configuration, resuming: resumed)
    }
}

let arguments = CommandLine.arguments
switch arguments.dropFirst().first {
case "role" where arguments.count == 4: try runRole(arguments[2], arguments[3])
case "trial": try runTrial()
case "keeper" where arguments.count >= 3: exit(runHarness(arguments[2], arguments[3...]))
default: fail("usage: keeper SOCKET [old] [fault:CALL:N:ERRNO …] | role NAME SOCKET")
}
