import Glibc

/// How far an attempt to use up a resource came. Each has a ceiling of its own, so that it ends without a limit too.
package struct ResourceUse: Sendable {
    /// How much was had, in the resource's own unit.
    package var amount: UInt64
    /// What refused more; nil if the ceiling was reached.
    package var refusal: SystemError?

    fileprivate init(ceiling: UInt64, step: UInt64 = 1, _ take: () throws(SystemError) -> Void) {
        amount = 0
        while amount < ceiling {
            do throws(SystemError) { try take() } catch {
                refusal = error
                return
            }
            amount += step
        }
    }
}

/// Opens /dev/null until that fails, then closes all; counts descriptors.
package func useDescriptors(ceiling: UInt64) -> ResourceUse {
    var open: [Descriptor] = []
    return ResourceUse(ceiling: ceiling) { () throws(SystemError) in
        let raw = try systemCall("open", "/dev/null") { Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC) }
        open.append(Descriptor(owning: raw))
    }
}

/// What a mapping counts against.
package enum MappingKind: Sendable {
    /// Address space alone (RLIMIT_AS): nothing can be stored there.
    case addressSpace
    /// Private writable memory (RLIMIT_DATA, since Linux 4.7).
    case data
    /// Memory locked by mlock(2) (RLIMIT_MEMLOCK).
    case locked
}

/// Maps memory in steps of 1 MiB (64 KiB if locked) until that fails, then unmaps all; counts bytes. With a pause between the
/// steps it also stores something in each page, so that the memory is seen to grow.
package func useMemory(_ kind: MappingKind, ceiling: UInt64, pausing time: Duration = .zero) -> ResourceUse {
    let step = kind == .locked ? 64 << 10 : 1 << 20
    var mapped: [UnsafeMutableRawPointer] = []
    mapped.reserveCapacity(Int(clamping: ceiling) / step)
    defer { mapped.forEach { munmap($0, step) } }
    return ResourceUse(ceiling: ceiling, step: UInt64(step)) { () throws(SystemError) in
        let isStored = time > .zero
        let protection = kind == .addressSpace && !isStored ? PROT_NONE : PROT_READ | PROT_WRITE
        guard let memory = mmap(nil, step, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), memory != MAP_FAILED else {
            throw SystemError(call: "mmap", code: errno)
        }
        mapped.append(memory)
        if kind == .locked { try systemCall("mlock") { mlock(memory, step) } }
        guard isStored else { return }
        memset(memory, 1, step)
        pause(for: time)
    }
}

/// Starts sleeping copies of this program until that fails, then ends all; counts processes.
package func useProcesses(arguments: [String], ceiling: UInt64) -> ResourceUse {
    var children: [Int32] = []
    defer {
        children.forEach { endChild($0) }
        children.forEach { awaitChild($0) }
    }
    return ResourceUse(ceiling: ceiling) { () throws(SystemError) in
        children.append(try startItself(arguments: arguments))
    }
}

/// Writes to a nameless file in a directory until that fails (past RLIMIT_FSIZE by SIGXFSZ); counts bytes.
package func useFileSize(directory: String, ceiling: UInt64) -> ResourceUse {
    let block = [UInt8](repeating: 0, count: 64 << 10)
    var file: Descriptor?
    return ResourceUse(ceiling: ceiling, step: UInt64(block.count)) { () throws(SystemError) in
        if file == nil {
            var name = Array("\(directory)/use-file-size.XXXXXX".utf8CString)
            file = Descriptor(owning: try systemCall("mkstemp", directory) { mkstemp(&name) })
            unlink(name)
        }
        try systemCall("write", directory) { write(file?.raw ?? -1, block, block.count) }
    }
}

/// Uses the stack of the calling thread by recursion (past RLIMIT_STACK by SIGSEGV); returns the bytes used at the
/// ceiling. `report` is told of every further `interval` bytes.
package func useStack(ceiling: Int, interval: Int, report: (Int) -> Void) -> Int {
    signal(SIGSEGV, SIG_DFL)  // the Swift runtime may have put its backtracer there
    var marker: UInt8 = 0
    let top = withUnsafeMutablePointer(to: &marker) { Int(bitPattern: $0) }
    var next = interval
    return descend(from: top, ceiling: ceiling) { depth in
        guard depth >= next else { return }
        report(depth)
        next += interval
    }
}

@inline(never)
private func descend(from top: Int, ceiling: Int, visit: (Int) -> Void) -> Int {
    withUnsafeTemporaryAllocation(byteCount: 512, alignment: 16) { frame in
        frame.initializeMemory(as: UInt8.self, repeating: 1)
        let depth = top - Int(bitPattern: frame.baseAddress)
        visit(depth)
        // Reads the frame after the call, so that it can be no tail call.
        return depth >= ceiling ? depth : descend(from: top, ceiling: ceiling, visit: visit) + Int(frame[0]) - 1
    }
}

/// Computes for a time on one core (past RLIMIT_CPU it is ended by SIGXCPU).
package func useProcessor(for time: Duration) {
    let end = monotonicNanoseconds() + time.clampedNanoseconds
    while monotonicNanoseconds() < end {}
}

/// Ends the process by SIGABRT, whose default is a core dump, by abort(3).
package func abortProcess() -> Never {
    signal(SIGABRT, SIG_DFL)  // the Swift runtime may have put its backtracer there
    abort()
}
