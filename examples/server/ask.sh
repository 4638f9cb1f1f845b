#!/usr/bin/env bash
# Ask a server for models, an answer, a stream and a model that it does not have:
#
#     WORKBENCH_URL=http://localhost:8000/v1 WORKBENCH_KEY=wb-... bash examples/server/ask.sh [MODEL]
set -euo pipefail
model=${1:-auto}

ask() {
    curl --silent --show-error --no-buffer "$WORKBENCH_URL$1" -H "Authorization: Bearer $WORKBENCH_KEY" "${@:2}"
}
body='{"model": "'$model'", "messages": [{"role": "user", "content": "Name a prime over 100."}]'

echo "models $(ask /models)"
echo "answered by $(ask /chat/completions --dump-header - --output /dev/null -d "$body}" | grep -i x-workbench-answered-by)"
echo "streamed $(ask /chat/completions -d "$body, \"stream\": true}")"
echo "refused $(ask /chat/completions --write-out ' %{http_code}' -d '{"model": "none/none", "messages": [{"role": "user", "content": "?"}]}')"
