/// The JSON Schema (draft 2020-12) of a manifest, generated from the field table.
package enum ManifestSchema {
    /// The text of `Configs/manifest.schema.json`.
    package static var text: String {
        let root = FieldTable.root.schema
        let schema = JSONText.members([
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "supd manifest",
            "description": "Generated from the field table in Sources/Manifest; do not edit.",
        ])
        .merging(root)
        .merging(
            .members([
                "$defs": .members(["defaults": FieldTable.defaults.schema, "service": FieldTable.service.schema])
            ]))
        return schema.text() + "\n"
    }
}
