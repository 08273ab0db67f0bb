import Manifest

/// The encoded form: what cannot be worked out anew. A commands' queue is kept, so that a restart of many instances
/// goes on when the supervisor is lost in the middle of it.
extension Application: Codable {
    private enum CodingKeys: String, CodingKey {
        case manifest, instances, nextGeneration, leftovers, operations, isShuttingDown
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(manifest, forKey: .manifest)
        try container.encode(instances, forKey: .instances)
        try container.encode(nextGeneration, forKey: .nextGeneration)
        try container.encode(leftovers, forKey: .leftovers)
        try container.encode(operations, forKey: .operations)
        try container.encode(isShuttingDown, forKey: .isShuttingDown)
    }

    /// Throws if the parts do not fit together: a snapshot that would lead to nonsense is no better than none.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let manifest = try container.decode(Manifest.self, forKey: .manifest)
        let layout = Layout(of: manifest)
        let instances = try container.decode([Instance].self, forKey: .instances)
        guard instances.map(\.id) == layout.names else {
            throw DecodingError.dataCorruptedError(
                forKey: .instances, in: container, debugDescription: "the instances are not those of the manifest")
        }
        self.init(
            manifest: manifest, layout: layout, instances: instances,
            nextGeneration: try container.decode(Generation.self, forKey: .nextGeneration))
        leftovers = try container.decode([Leftover].self, forKey: .leftovers)
        operations = try container.decode([Operation].self, forKey: .operations)
        guard operations.allSatisfy({ $0.steps.allSatisfy { layout.names.indices.contains($0.place) } }) else {
            throw DecodingError.dataCorruptedError(
                forKey: .operations, in: container, debugDescription: "a command is about an unknown instance")
        }
        isShuttingDown = try container.decode(Bool.self, forKey: .isShuttingDown)
        assignPorts()
        rebuild()
    }
}
