import Links
import Manifest
import Platform
import Supervision

/// Readiness by a newline to a descriptor.
extension SupervisorRole {
    /// Makes the set of pipes.
    func makeReadyPipes() {
        do throws(SystemError) {
            readyPipes = try ReadyPipes(queue: queue) { [weak self] generation, passed, detail in
                self?.assumeIsolated {
                    $0.take(.probed(generation, passed: passed, detail: detail))
                    if passed { $0.closeReadyPipe(generation) }
                }
            }
        } catch {
            log.write(.error, "cannot wait for services that say by a descriptor that they are ready: \(error)")
        }
    }

    /// Makes the pipe of a process that is about to be started, and has the keeper hold both ends: one for whoever reads
    /// it, the other for the process.
    func openReadyPipe(_ generation: Generation, of service: Service) throws(StartFailure) {
        guard let number = service.ready.notifyDescriptor else { return }
        do throws(SystemError) {
            let pipe = try makePipe(nonblockingRead: true)
            readyPipes?.add(generation, pipe.read)
            keeper?.send(.hold(name: ReadyPipes.readingName(generation)), [pipe.read])
            keeper?.send(.hold(name: ReadyPipes.writingName(generation)), [pipe.write])
        } catch {
            throw StartFailure(text: "cannot make the pipe of descriptor \(number): \(error.reason)")
        }
    }

    /// The process has been asked for: from now on it alone has the writing end, and ends the pipe by closing it.
    func closeWritingEnd(_ generation: Generation, of service: Service) {
        guard service.ready.notifyDescriptor != nil else { return }
        keeper?.send(.drop(name: ReadyPipes.writingName(generation)))
    }

    /// Nothing more can come, or nobody waits for it.
    func closeReadyPipe(_ generation: Generation) {
        guard readyPipes?.close(generation) == true else { return }
        keeper?.send(.drop(name: ReadyPipes.readingName(generation)))
    }

    /// Takes over the pipes of processes that have not said yet that they are ready.
    func adoptReadyPipes(_ inventory: Inventory) {
        var waiting: Set<Generation> = []
        for child in inventory.children {
            if let label = ChildLabel(child.label), label.role == .leader, !label.saidReady {
                waiting.insert(label.generation)
            }
        }
        for (name, descriptor) in inventory.held {
            guard let generation = ReadyPipes.generation(ofHeld: name) else { continue }
            if waiting.contains(generation), name == ReadyPipes.readingName(generation) {
                readyPipes?.add(generation, descriptor)
            } else {
                keeper?.send(.drop(name: name))
            }
        }
    }
}
