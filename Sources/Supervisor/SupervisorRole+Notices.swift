import Links
import Manifest
import Platform
import Supervision

/// What services say of themselves: the sockets they say it on, and what becomes of it.
extension SupervisorRole {
    /// Where the sockets are.
    var noticeDirectory: String { "\(configuration.runtimeDirectory)/notify" }

    /// Makes the set of sockets.
    func makeNoticeSockets() {
        notices = NoticeSockets(
            directory: noticeDirectory, queue: queue,
            report: { [weak self] generation, notice in
                self?.assumeIsolated { $0.take(.notified(generation, notice)) }
            },
            note: { [log] instance, text in log.write(.warning, "\(instance): \(text)") })
    }

    /// Opens the socket of a process that is about to be started, and has the keeper hold it first, so that it is there
    /// whatever becomes of this supervisor.
    func openNoticeSocket(_ generation: Generation, of service: Service, _ plan: SpawnPlan) throws(StartFailure) {
        guard service.hasNotifySocket, let notices else { return }
        let directory = noticeDirectory
        do throws(SystemError) {
            let socket = try notices.open(
                generation, user: plan.credentials.map { ($0.user, $0.group) }, isRoot: Accounts.ownUser == 0)
            keeper?.send(.hold(name: NoticeSockets.heldName(generation)), [socket])
        } catch {
            let advice =
                error.code == ErrorCode.nameTooLong
                ? "; a path has 107 bytes at most: use a shorter runtime directory" : ""
            throw StartFailure(
                text: "cannot open the socket for its notices in \(directory): \(error.reason)\(advice)")
        }
        if let credentials = plan.credentials {
            let access = PathAccess(
                user: credentials.user, groups: Set(credentials.supplementary + [credentials.group]))
            if let hindrance = access.hindranceToEnter(directory) {
                throw StartFailure(
                    text: "cannot give it a socket for its notices in \(directory): \(hindrance); use chmod o+x")
            }
        }
    }

    /// Reads what a process says from now on.
    func listenToNotices(_ generation: Generation, _ instance: InstanceID, pid: Int32) {
        let own = InstanceProcesses.Instance(generation: generation, id: instance, leader: pid, scope: scope)
        notices?.begin(generation, NoticeSockets.Owner(instance: own, keeper: configuration.keeper))
    }

    /// Nothing is left of a process, or it was never there.
    func closeNoticeSocket(_ generation: Generation) {
        guard notices?.close(generation) == true else { return }
        keeper?.send(.drop(name: NoticeSockets.heldName(generation)))
    }

    /// Takes over the sockets that a supervisor before has opened. One whose process was never asked for is closed.
    func adoptNoticeSockets(_ inventory: Inventory) {
        for (name, descriptor) in inventory.held {
            if let generation = NoticeSockets.generation(ofHeld: name) { notices?.adopt(generation, descriptor) }
        }
        let children = Set(inventory.children.map(\.id))
        for name in inventory.held.keys {
            guard let generation = NoticeSockets.generation(ofHeld: name), !children.contains(generation.number) else {
                continue
            }
            closeNoticeSocket(generation)
        }
        for child in inventory.children where child.state != .spawning {
            guard let label = ChildLabel(child.label), label.role == .leader else { continue }
            listenToNotices(label.generation, label.instance, pid: child.pid)
        }
    }

    /// A process has said that it is ready, which it says once: the keeper remembers it.
    func keepReadiness(_ generation: Generation, _ instance: InstanceID, port: UInt16) {
        let label = ChildLabel(role: .leader, instance: instance, generation: generation, port: port, saidReady: true)
        keeper?.send(.relabel(id: generation.number, label: label.description))
    }
}
