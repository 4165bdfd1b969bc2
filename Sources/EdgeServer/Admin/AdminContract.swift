/// The admin API's contract, OpenAPI 3.1.
enum AdminContract {
    static let yaml = """
        openapi: 3.1.0
        info:
          title: Downpour admin API
          version: "1"
          description: >-
            Operators' commands. Amounts are in fen, times in Unix milliseconds. Errors are
            RFC 9457 problem+json.
        servers:
          - url: http://127.0.0.1:7603
        security:
          - bearer: []
          - {}
        components:
          securitySchemes:
            bearer: {type: http, scheme: bearer}
          parameters:
            id: {name: id, in: path, required: true, schema: {type: string, maxLength: 64}}
            key:
              name: Idempotency-Key
              in: header
              required: true
              schema: {type: string, maxLength: 64}
            seen:
              name: seen
              in: query
              description: >-
                Entries that the caller has seen, SHARD-SEQUENCE as events are named: the answer is
                not older, whichever replica of the store gives it.
              schema: {type: array, items: {type: string}}
          responses:
            problem:
              description: What is wrong.
              content:
                application/problem+json:
                  schema: {type: object}
            done:
              description: Done, and durable.
              content:
                application/json:
                  schema: {type: object}
        paths:
          /healthz:
            get: {responses: {"200": {description: The process lives.}}}
          /readyz:
            get:
              responses:
                "200": {description: It may get traffic.}
                "503": {$ref: "#/components/responses/problem"}
          /metrics:
            get: {responses: {"200": {description: Prometheus text.}}}
          /v1/status:
            get: {responses: {"200": {$ref: "#/components/responses/done"}}}
          /v1/cluster:
            get:
              summary: The nodes of the cluster as this one sees them.
              responses:
                "200": {$ref: "#/components/responses/done"}
                "404": {$ref: "#/components/responses/problem"}
          /v1/shards:
            get:
              summary: The nodes that hold each shard, whoever serves it first.
              responses:
                "200": {$ref: "#/components/responses/done"}
          /v1/journal:
            get:
              summary: The files of the node's journal, for an audit elsewhere.
              responses:
                "200": {$ref: "#/components/responses/done"}
                "403": {$ref: "#/components/responses/problem"}
          /v1/journal/{id}:
            get:
              summary: At most 4 MiB of one of these files; nothing at its end.
              parameters:
                - {$ref: "#/components/parameters/id"}
                - {name: from, in: query, schema: {type: integer, minimum: 0}}
              responses:
                "200":
                  description: Bytes.
                  content:
                    application/octet-stream: {schema: {type: string, format: binary}}
                "403": {$ref: "#/components/responses/problem"}
                "404": {$ref: "#/components/responses/problem"}
          /v1/users/{id}/claims:
            get:
              summary: A user's claims, from the store or a replica of it.
              parameters:
                - {$ref: "#/components/parameters/id"}
                - {name: rain, in: query, schema: {type: string}}
                - {name: count, in: query, schema: {type: integer, maximum: 10000}}
                - {$ref: "#/components/parameters/seen"}
              responses:
                "200": {$ref: "#/components/responses/done"}
                "503": {$ref: "#/components/responses/problem"}
          /v1/users/{id}/orders:
            get:
              summary: A user's orders, from the store or a replica of it.
              parameters:
                - {$ref: "#/components/parameters/id"}
                - {name: count, in: query, schema: {type: integer, maximum: 10000}}
                - {$ref: "#/components/parameters/seen"}
              responses:
                "200": {$ref: "#/components/responses/done"}
                "503": {$ref: "#/components/responses/problem"}
          /v1/topology:
            get:
              summary: Who holds each shard, who should, and how far that has come.
              responses:
                "200": {$ref: "#/components/responses/done"}
                "404": {$ref: "#/components/responses/problem"}
            post:
              summary: Decide who should hold each shard; 409 where somebody else has meanwhile.
              requestBody:
                content:
                  application/json:
                    schema:
                      type: object
                      required: [version, members]
                      properties:
                        version: {type: integer}
                        members: {type: array, items: {type: array, items: {type: string}}}
                        shardsAtOnce: {type: integer}
                        bytesPerSecond: {type: integer}
              responses:
                "200": {$ref: "#/components/responses/done"}
                "409": {$ref: "#/components/responses/problem"}
          /v1/topology/{action}:
            post:
              summary: pause, resume or abort the moves.
              parameters:
                - name: action
                  in: path
                  required: true
                  schema: {type: string, enum: [pause, resume, abort]}
              responses:
                "200": {$ref: "#/components/responses/done"}
                "409": {$ref: "#/components/responses/problem"}
          /v1/audit:
            post:
              summary: Compare the journal with the store.
              responses: {"200": {$ref: "#/components/responses/done"}}
        \(pool("rains", "id", "amount", "count", "seed: {type: string}"))
        \(pool("stock", "sku", "units", "price", "hold: {type: integer}"))
          /v1/stock/{id}/refill:
            post:
              parameters:
                - {$ref: "#/components/parameters/id"}
                - {$ref: "#/components/parameters/key"}
              requestBody:
                content:
                  application/json:
                    schema: {type: object, properties: {units: {type: integer}}}
              responses: {"200": {$ref: "#/components/responses/done"}}
          /v1/orders/{id}:
            get:
              parameters: [{$ref: "#/components/parameters/id"}]
              responses:
                "200": {$ref: "#/components/responses/done"}
                "404": {$ref: "#/components/responses/problem"}
        \(order("pay", "payment: {type: string}, fen: {type: integer}"))
        \(order("cancel", ""))
        \(order("refund", "request: {type: string}, fen: {type: integer}, restock: {type: integer}"))

        """

    private static func order(_ action: String, _ properties: String) -> String {
        """
          /v1/orders/{id}/\(action):
            post:
              parameters: [{$ref: "#/components/parameters/id"}]
              requestBody:
                content:
                  application/json:
                    schema: {type: object, properties: {\(properties)}}
              responses:
                "200": {$ref: "#/components/responses/done"}
                "404": {$ref: "#/components/responses/problem"}
                "422": {$ref: "#/components/responses/problem"}
        """
    }

    private static func pool(
        _ path: String, _ id: String, _ first: String, _ second: String, _ more: String
    ) -> String {
        var text = """
              /v1/\(path):
                get:
                  parameters:
                    - {name: cursor, in: query, schema: {type: string}}
                    - {name: count, in: query, schema: {type: integer}}
                    - {name: state, in: query, schema: {type: string}}
                  responses: {"200": {$ref: "#/components/responses/done"}}
                post:
                  summary: Create it; the same again changes nothing.
                  requestBody:
                    content:
                      application/json:
                        schema:
                          type: object
                          required: [\(id), \(first)]
                          properties:
                            \(id): {type: string}
                            \(first): {type: integer}
                            \(second): {type: integer}
                            \(more)
                            opens: {type: integer}
                            closes: {type: integer}
                            limit: {type: integer}
                            slices: {type: integer}
                            durability: {type: string, enum: [memory, journal, replicated]}
                            regions: {type: object}
                  responses:
                    "200": {$ref: "#/components/responses/done"}
                    "400": {$ref: "#/components/responses/problem"}
                    "409": {$ref: "#/components/responses/problem"}
              /v1/\(path)/{id}:
                get:
                  parameters: [{$ref: "#/components/parameters/id"}]
                  responses:
                    "200": {$ref: "#/components/responses/done"}
                    "404": {$ref: "#/components/responses/problem"}
                patch:
                  summary: Alter opens, closes or limit.
                  parameters:
                    - {$ref: "#/components/parameters/id"}
                    - {$ref: "#/components/parameters/key"}
                  responses: {"200": {$ref: "#/components/responses/done"}}
              /v1/\(path)/{id}/claims:
                get:
                  parameters:
                    - {$ref: "#/components/parameters/id"}
                    - {name: user, in: query, schema: {type: string}}
                    - {name: cursor, in: query, schema: {type: integer}}
                    - {$ref: "#/components/parameters/seen"}
                  responses: {"200": {$ref: "#/components/responses/done"}}
            """
        text += """

              /v1/\(path)/{id}/resolve:
                post:
                  summary: >-
                    Decide about what a crash took out of play: release puts it back, though it
                    may have been granted; return takes it out of the pool for good.
                  parameters:
                    - {$ref: "#/components/parameters/id"}
                    - {$ref: "#/components/parameters/key"}
                  requestBody:
                    content:
                      application/json:
                        schema:
                          type: object
                          required: [resolution]
                          properties:
                            resolution: {type: string, enum: [release, return]}
                  responses:
                    "200": {$ref: "#/components/responses/done"}
                    "400": {$ref: "#/components/responses/problem"}
                    "404": {$ref: "#/components/responses/problem"}
                    "422": {$ref: "#/components/responses/problem"}
            """
        for action in ["warm", "pause", "resume", "close"] {
            text += """

                  /v1/\(path)/{id}/\(action):
                    post:
                      parameters: [{$ref: "#/components/parameters/id"}]
                      responses: {"200": {$ref: "#/components/responses/done"}}
                """
        }
        return text
    }
}
