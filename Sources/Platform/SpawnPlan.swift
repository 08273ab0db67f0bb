import CPlatform
import Glibc

/// A start as the child's side reads it: C structures in one piece of memory, since a child between fork and exec can
/// allocate none.
extension Spawn {
    /// All that is text.
    private var texts: [[String]] { [candidates, arguments, variables, directory.map { [$0] } ?? []] }

    /// The environment with room for process ids.
    private var variables: [String] {
        environment + processIDVariables.map { "\($0)=\(String(repeating: "0", count: Int(SUPD_PID_ROOM) - 1))" }
    }

    /// What each number of the process stands for in this one.
    private var numbers: [Int32] {
        var numbers = descriptors.map { $0?.raw ?? -1 }
        for (number, descriptor) in further.sorted(by: { $0.key < $1.key }) where number >= numbers.count {
            numbers += Array(repeating: SUPD_CLOSED, count: number - numbers.count) + [descriptor.raw]
        }
        return numbers
    }

    /// Whether it can be said in C: there is a path to execute, and no string has a NUL byte in it.
    var isExpressible: Bool {
        !candidates.isEmpty
            && texts.allSatisfy {
                $0.allSatisfy { !$0.utf8.contains(0) }
            }
    }

    /// So many bytes `plan(in:)` needs.
    var planSize: Int {
        texts.reduce(0) { $0 + PlanWriter.size($1) }
            + PlanWriter.size(processIDVariables.count, of: UnsafeMutablePointer<CChar>?.self)
            + PlanWriter.size(numbers.count, of: Int32.self)
            + PlanWriter.size(limits.count, of: supd_spawn_limit.self)
            + PlanWriter.size(credentials?.supplementary.count ?? 0, of: gid_t.self)
    }

    /// The plan, all but its status pipe; what it points to is written to the memory. nil: there is too little of it.
    func plan(in memory: UnsafeMutableRawBufferPointer) -> supd_spawn_plan? {
        var writer = PlanWriter(memory)
        var plan = supd_spawn_plan()
        guard let candidates = writer.list(candidates), let arguments = writer.list(arguments),
            let environment = writer.list(variables), let directory = writer.list(directory.map { [$0] } ?? []),
            let places = writer.array(pidPlaces(in: environment)),
            let numbers = writer.array(self.numbers),
            let settings = writer.array(
                limits.map { supd_spawn_limit(resource: $0.resource, soft: $0.soft, hard: $0.hard) }),
            let groups = writer.array(credentials?.supplementary ?? [])
        else { return nil }
        plan.candidates = UnsafeRawPointer(candidates).assumingMemoryBound(to: UnsafePointer<CChar>?.self)
        plan.arguments = UnsafePointer(arguments)
        plan.environment = UnsafePointer(environment)
        plan.pid_places = UnsafePointer(places)
        plan.pid_place_count = processIDVariables.count
        // The NULL that ends an empty list is what it means here.
        plan.directory = UnsafePointer(directory.pointee)
        plan.descriptors = UnsafePointer(numbers)
        plan.descriptor_count = self.numbers.count
        plan.limits = UnsafePointer(settings)
        plan.limit_count = limits.count
        plan.mask = umask.map { Int32($0 & 0o777) } ?? -1
        if let credentials {
            plan.sets_credentials = 1
            plan.user = credentials.user
            plan.group = credentials.group
            plan.groups = UnsafePointer(groups)
            plan.group_count = credentials.supplementary.count
        }
        plan.no_new_privileges = deniesNewPrivileges ? 1 : 0
        plan.dies_with_parent = diesWithParent ? 1 : 0
        plan.resets_oom_score = resetsOOMScore ? 1 : 0
        plan.without_new_calls = avoidsNewCalls ? 1 : 0
        return plan
    }

    /// Where the values of `processIDVariables` begin: they are the last of the environment.
    private func pidPlaces(
        in environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    ) -> [UnsafeMutablePointer<CChar>?] {
        let first = self.environment.count
        return processIDVariables.enumerated().map { index, name in
            environment[first + index].map { $0 + name.utf8.count + 1 }
        }
    }
}

/// Fills memory from its beginning; every piece is checked against what is left.
struct PlanWriter {
    /// Of every piece: enough for all of them.
    static let alignment = 16
    private var free: UnsafeMutableRawBufferPointer.SubSequence

    init(_ memory: UnsafeMutableRawBufferPointer) { free = memory[...] }

    /// What so many values take; none take a place, too, for a pointer to them must not be null.
    static func size<Value>(_ count: Int, of type: Value.Type) -> Int {
        (max(count, 1) * MemoryLayout<Value>.stride + alignment - 1) / alignment * alignment
    }

    /// What a list takes.
    static func size(_ strings: [String]) -> Int {
        size(strings.count + 1, of: UnsafeMutablePointer<CChar>?.self) + size(length(strings), of: CChar.self)
    }

    /// The bytes of strings, each with its NUL.
    private static func length(_ strings: [String]) -> Int { strings.reduce(0) { $0 + $1.utf8.count + 1 } }

    /// Uninitialised memory for so many values.
    private mutating func room<Value>(_ count: Int, of type: Value.Type) -> UnsafeMutablePointer<Value>? {
        let size = Self.size(count, of: type)
        guard size <= free.count else { return nil }
        defer { free = free.dropFirst(size) }
        return UnsafeMutableRawBufferPointer(rebasing: free).bindMemory(to: type).baseAddress
    }

    /// The values one after the other.
    mutating func array<Value: BitwiseCopyable>(_ values: [Value]) -> UnsafeMutablePointer<Value>? {
        guard let first = room(values.count, of: Value.self) else { return nil }
        for (index, value) in values.enumerated() { (first + index).initialize(to: value) }
        return first
    }

    /// C strings, and pointers to them with NULL at the end.
    mutating func list(_ strings: [String]) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? {
        guard let pointers = room(strings.count + 1, of: UnsafeMutablePointer<CChar>?.self),
            var text = room(Self.length(strings), of: CChar.self)
        else { return nil }
        for (index, var string) in strings.enumerated() {
            (pointers + index).initialize(to: text)
            string.withUTF8 { bytes in
                for (offset, byte) in bytes.enumerated() { (text + offset).initialize(to: CChar(bitPattern: byte)) }
                (text + bytes.count).initialize(to: 0)
                text += bytes.count + 1
            }
        }
        (pointers + strings.count).initialize(to: nil)
        return pointers
    }
}
