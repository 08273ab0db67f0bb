import FoundationEssentials
import Platform

/// Uses up a resource, prints how far it came, and returns the exit code: 0 if it was refused, 4 if no limit was met.
/// What the kernel answers with a signal (`cpu`, `fsize`, `stack`, `core`) does not return.
/// Of memory, with a pause after each step.
func leak(_ resource: Options.Resource, pausing time: Duration) -> Int32 {
    printLine("\(resource.rawValue): using it up")
    switch resource {
    case .nofile: return outcome(resource, "descriptors", useDescriptors(ceiling: 1 << 17))
    case .as: return outcome(resource, "bytes", useMemory(.addressSpace, ceiling: 1 << 36, pausing: time))
    case .data: return outcome(resource, "bytes", useMemory(.data, ceiling: 1 << 34, pausing: time))
    case .memlock: return outcome(resource, "bytes", useMemory(.locked, ceiling: 1 << 28, pausing: time))
    case .nproc: return outcome(resource, "processes", useProcesses(arguments: ["--sleep"], ceiling: 512))
    case .fsize:
        let directory = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        return outcome(resource, "bytes", useFileSize(directory: directory, ceiling: 1 << 28))
    case .stack:
        let used = useStack(ceiling: 1 << 28, interval: 1 << 20) { printLine("stack: \($0) bytes deep") }
        printLine("stack: no limit met after \(used) bytes")
    case .cpu:
        useProcessor(for: .seconds(120))
        printLine("cpu: no limit met after 120 s")
    case .core: abortProcess()
    }
    return 4
}

private func outcome(_ resource: Options.Resource, _ unit: String, _ use: ResourceUse) -> Int32 {
    guard let refusal = use.refusal else {
        printLine("\(resource.rawValue): no limit met after \(use.amount) \(unit)")
        return 4
    }
    printLine("\(resource.rawValue): refused after \(use.amount) \(unit): \(refusal) (errno \(refusal.code))")
    return 0
}
