import FoundationEssentials
import Keeper
import Links
import Platform
import Supervisor

/// `supd --trial`: a keeper asks whether this program could take the place of its own. Everything is read that would be
/// read then, by the same code; nothing is changed.
extension Supd {
    static func runTrial() -> Never {
        let answer: PacketSocket
        let state: KeeperState
        do {
            let inherited = try InheritedDescriptors([TrialDescriptor.answer])
            answer = PacketSocket(try inherited.descriptor(TrialDescriptor.answer))
        } catch {
            fail("--trial is for supd itself; say: supctl upgrade --check", code: 2)
        }
        do {
            state = try KeeperState(
                MemoryFile.contents(ofDescriptor: TrialDescriptor.state, limit: KeeperState.limit))
        } catch {
            let text = (error as? KeeperState.Unreadable)?.text ?? "the tables cannot be read: \(error)"
            fail(text, code: 1)
        }
        var failure = takeoverObstacle(
            configuration: state.program.supervisorConfiguration,
            manifest: state.held(HeldName.manifest) == nil ? nil : TrialDescriptor.manifest,
            snapshot: state.held(HeldName.snapshot) == nil ? nil : TrialDescriptor.snapshot)
        if failure == nil, ProcessScope(state.scope) == nil { failure = "the scope \(state.scope) is none" }
        guard
            let bytes = try? JSONEncoder().encode(
                TrialAnswer(nonce: state.nonce, version: version, failure: failure.map { String($0.prefix(2000)) })),
            case .sent? = try? answer.send([UInt8](bytes))
        else { fail("cannot answer the keeper", code: 1) }
        exitProcess(0)
    }
}
