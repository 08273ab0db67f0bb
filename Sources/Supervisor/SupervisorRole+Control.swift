import ControlAPI
import Dispatch
import FoundationEssentials
import Platform
import Supervision

/// What users ask over the control socket. Names are the same as in supctl and in the API.
extension SupervisorRole {
    /// Answers one request; called on the queue.
    func answer(_ request: ControlRequest, from peer: PeerCredentials, _ responder: ControlResponder) {
        guard let application else {
            return responder.fail(503, code: "failed", "supd is still starting; try again")
        }
        switch request.route {
        case .version: responder.finish(json: ["version": version])
        case .status(let names, let withLimits): status(names, withLimits: withLimits, application, responder)
        case .verb(let verb, let names, let options):
            withInstances(names, application, responder) { run(verb, $0, names, options, peer, responder) }
        case .signal(let names, let name):
            withInstances(names, application, responder) { sendSignal(name, to: $0, peer, responder) }
        case .limit(let names, let limits):
            withInstances(names, application, responder) { setLimits(limits, of: $0, peer, responder) }
        case .shutdown(let options):
            log.write(.notice, "shutdown asked for by \(peer)")
            let command = commands.begin(options.wait ? responder : nil)
            if options.wait { responder.begin() } else { responder.finish(json: ["result": "accepted"]) }
            _ = command
            beginShutdown()
        }
    }
}
