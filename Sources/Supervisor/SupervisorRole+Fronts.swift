import Links
import Manifest
import Platform
import Supervision

/// The fronts of another manifest: opened before it is in force, and closed when nothing needs them any more.
extension SupervisorRole {
    /// Opens the fronts that a manifest has and that are not there yet; all of them or none.
    func openAhead(_ manifest: Manifest) throws(BeginningFailure) {
        var held = heldSockets
        var opened: [String: Descriptor] = [:]
        var problems: [String] = []
        for service in manifest.services {
            for settings in service.listen {
                do throws(Front.Failure) {
                    let front = try Front.open(settings, held: held, namePrefix: Held.listenerPrefix)
                    for socket in front.sockets where socket.isNew {
                        held[Held.listenerPrefix + socket.id] = socket.descriptor
                        opened[Held.listenerPrefix + socket.id] = socket.descriptor
                    }
                } catch {
                    let own = ownFront(on: settings, error.code).map { "\(error.cause): \($0)" }
                    problems.append("\(service.name): \(own ?? error.text)")
                }
            }
        }
        if let settings = manifest.supd.web {
            do throws(Front.Failure) {
                let front = try Front.open(
                    ListenSettings(settings.listen), held: web.heldSockets, namePrefix: Held.webPrefix)
                for socket in front.sockets where socket.isNew {
                    opened[Held.webPrefix + socket.id] = socket.descriptor
                }
            } catch {
                problems.append("supd.web: \(error.text)")
            }
        }
        guard problems.isEmpty else { throw BeginningFailure(problems) }
        openedAhead = opened
    }

    /// A front of this supd on the same port keeps another address of it from being opened, as long as it is there. (Who is
    /// found to have the port is supd's keeper then, which nobody should end.)
    private func ownFront(on settings: ListenSettings, _ code: Int32) -> String? {
        guard code == ErrorCode.addressInUse, let port = settings.address.port,
            let own = (Array(balancer.fronts.values) + passedFronts.values).joined().first(where: {
                $0.settings.address.port == port
            })
        else { return nil }
        return "supd's own front \(own.address) is in the way: apply a manifest without it first"
    }

    /// The listening sockets that are open, by the keeper's names.
    private var heldSockets: [String: Descriptor] {
        var held: [String: Descriptor] = [:]
        for socket in (Array(balancer.fronts.values) + passedFronts.values).joined().flatMap(\.sockets) {
            held[Held.listenerPrefix + socket.id] = socket.descriptor
        }
        return held.merging(retainedSockets) { first, _ in first }
    }

    /// Brings the fronts into line with a manifest. What a service that stays listens on is not its any more that leaves.
    func bringFrontsIntoLine(with manifest: Manifest, leaving: Set<String>) {
        let known = heldSockets
        let held = known.merging(openedAhead) { first, _ in first }
        bringWebIntoLine(with: manifest)
        openedAhead = [:]
        var fronts: [String: [Front]] = [:]
        var passed: [String: [Front]] = [:]
        let replaced = Set(application?.servicesUnderRollout ?? [])
        let retained = replaced.isEmpty ? [:] : retainedSockets
        let balanced = Set(balancer.fronts.values.joined().flatMap(\.sockets).map(\.id))
        var used: Set<String> = []
        for service in manifest.services.filter({ !leaving.contains($0.name) })
            + manifest.services.filter({ leaving.contains($0.name) })
        {
            for settings in service.listen {
                do throws(Front.Failure) {
                    let front = try Front.open(settings, held: held, namePrefix: Held.listenerPrefix)
                    let names = front.sockets.map { Held.listenerPrefix + $0.id }
                    guard used.isDisjoint(with: names) else {
                        if !leaving.contains(service.name) {
                            log.write(.error, "\(service.name): \(front.address) is another service's now")
                        }
                        continue
                    }
                    used.formUnion(names)
                    for (name, socket) in zip(names, front.sockets) where known[name] == nil {
                        keeper?.send(.hold(name: name), [socket.descriptor])
                    }
                    if settings.passes {
                        passed[service.name, default: []].append(front)
                        continue
                    }
                    for socket in front.sockets where !balanced.contains(socket.id) {
                        try? setBlocking(socket.descriptor, false)
                    }
                    for socket in front.sockets where balancer.isReady && !balanced.contains(socket.id) {
                        balancer.link?.send(.listener(id: socket.id), [socket.descriptor])
                    }
                    fronts[service.name, default: []].append(front)
                } catch {
                    log.write(.error, "\(service.name): \(error.text)")
                }
            }
            // The routes of a service without a front are nobody's business, but of one that drains they are.
            if service.isBalanced, fronts[service.name] == nil { fronts[service.name] = [] }
        }
        // A rollout that goes back needs again what its service had.
        retainedSockets = [:]
        for (service, old) in Array(balancer.fronts) + Array(passedFronts) where replaced.contains(service) {
            for socket in old.flatMap(\.sockets) {
                retainedSockets[Held.listenerPrefix + socket.id] = socket.descriptor
            }
        }
        for (name, socket) in retained { retainedSockets[name] = retainedSockets[name] ?? socket }
        retainedSockets = retainedSockets.filter { !used.contains($0.key) }
        used.formUnion(retainedSockets.keys)
        for name in known.keys where !used.contains(name) {
            tableIsOwed()
            keeper?.send(.drop(name: name))
            removeSocketFile(ofListener: name.dropFirst(Held.listenerPrefix.count))
        }
        let hadNone = balancer.fronts.isEmpty
        balancer.fronts = fronts
        passedFronts = passed
        if hadNone { startBalancer(for: manifest) }
    }

    /// Of a Unix socket that nobody listens on the file is left; a later one would be told that somebody does.
    private func removeSocketFile(ofListener id: Substring) {
        guard id.hasPrefix("unix:") else { return }
        do throws(SystemError) {
            try FileIO.remove(String(id.dropFirst("unix:".count)))
        } catch {
            if error.code != ErrorCode.notFound {
                log.write(.warning, "cannot remove \(error.subject): \(error.reason)")
            }
        }
    }
}
