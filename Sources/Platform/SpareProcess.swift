import CPlatform
import Glibc

/// A process that was forked before it is needed: what does not depend on the program is done, and it waits for the rest.
/// So a start costs no more than a wake-up and an exec. `ps` shows it as "supd: spare".
package final class SpareProcess {
    /// The most that a start may take: what its strings and lists need. A longer one is forked as usual.
    package static let capacity = 64 * 1024

    /// The process, as if it were started already.
    package let forked: Spawn.Forked
    private let memory: UnsafeMutableRawBufferPointer
    private let orders: UnsafeMutablePointer<supd_spawn_orders>
    private var hasGone = false

    /// Forks one. Of the start only the descriptors, `diesWithParent`, `resetsOOMScore` and `avoidsNewCalls` count; a later
    /// one may not ask for others. Throws as `Spawn.start()` does, at stage `prepare` also the errno of mmap(2).
    package init(_ spawn: Spawn) throws(SpawnError) {
        var mapped: UnsafeMutableRawPointer?
        do throws(SystemError) {
            try systemCall("mmap", "orders of a spare process") {
                mapped = mmap(nil, Self.capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
                return mapped == MAP_FAILED ? -1 : 0
            }
        } catch {
            throw SpawnError(stage: .prepare, code: error.code)
        }
        memory = UnsafeMutableRawBufferPointer(start: mapped, count: Self.capacity)
        guard let orders = memory.bindMemory(to: supd_spawn_orders.self).baseAddress else {
            throw SpawnError(stage: .prepare, code: ENOMEM)
        }
        self.orders = orders
        orders.initialize(to: supd_spawn_orders())
        orders.pointee.size = Self.capacity
        do throws(SpawnError) {
            forked = try withUnsafeTemporaryAllocation(byteCount: spawn.planSize, alignment: PlanWriter.alignment) {
                memory throws(SpawnError) in
                guard var plan = spawn.plan(in: memory) else { throw SpawnError(stage: .prepare, code: EINVAL) }
                return try spawn.fork(&plan, orders: orders)
            }
        } catch {
            munmap(mapped, Self.capacity)
            throw error
        }
    }

    deinit {
        // Nobody else could ever let it go.
        if !hasGone { try? forked.process.signal(SIGKILL) }
        // The process keeps its own mapping.
        munmap(memory.baseAddress, memory.count)
    }

    /// Writes down what it is to become; false: that is too long, or cannot be said in C.
    package func take(_ spawn: Spawn) -> Bool {
        let header = (MemoryLayout<supd_spawn_orders>.size + PlanWriter.alignment - 1) & ~(PlanWriter.alignment - 1)
        guard !hasGone, spawn.isExpressible,
            let plan = spawn.plan(in: UnsafeMutableRawBufferPointer(rebasing: memory[header...]))
        else { return false }
        orders.pointee.plan = plan
        return true
    }

    /// Lets it become what it took last.
    package func go() {
        guard orders.pointee.plan.candidates != nil, !hasGone else { return }
        hasGone = true
        supd_spawn_go(orders)
    }
}
