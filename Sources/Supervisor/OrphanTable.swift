import Supervision

/// Processes that left their instance's group and lost their parent, by the generation that their environment names.
/// The keeper is their parent now; it tells of each once, and of its end.
struct OrphanTable {
    private var generations: [Int32: Generation] = [:]
    private var processes: [Generation: Set<Int32>] = [:]

    /// Adds an orphan.
    mutating func insert(pid: Int32, of generation: Generation) {
        remove(pid: pid)
        generations[pid] = generation
        processes[generation, default: []].insert(pid)
    }

    /// Takes one away: it has ended.
    mutating func remove(pid: Int32) {
        guard let generation = generations.removeValue(forKey: pid) else { return }
        processes[generation]?.remove(pid)
        if processes[generation]?.isEmpty == true { processes[generation] = nil }
    }

    /// Whether a generation has none.
    func isEmpty(of generation: Generation) -> Bool { processes[generation] == nil }

    /// A generation's orphans.
    func pids(of generation: Generation) -> Set<Int32> { processes[generation] ?? [] }

    /// Forgets a generation's orphans.
    mutating func forget(_ generation: Generation) {
        for pid in processes.removeValue(forKey: generation) ?? [] { generations[pid] = nil }
    }
}
