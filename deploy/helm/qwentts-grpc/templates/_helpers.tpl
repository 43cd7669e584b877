{{- define "qwentts.name" -}}
{{- if .Values.nameOverride }}{{ .Values.nameOverride }}{{ else if contains "qwentts" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-qwentts" .Release.Name }}{{ end }}
{{- end }}

{{- define "qwentts.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "qwentts.labels" -}}
{{ include "qwentts.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "qwentts.http.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-http
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "qwentts.http.labels" -}}
{{ include "qwentts.http.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "qwentts.clients" -}}
{{- toYaml (.Values.networkPolicy.clients | default (list (dict "podSelector" dict))) }}
{{- end }}

{{- define "qwentts.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "qwentts.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
{{- end }}

{{- define "qwentts.image" -}}
{{- $target := ternary "cuda" "cpu" (gt (int .Values.gpu.count) 0) -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion $target) }}
{{- end }}

{{- define "qwentts.args" -}}
{{- if and .Values.tls.clientCA (not .Values.tls.secret) }}{{ fail "tls.clientCA needs tls.secret" }}{{ end -}}
{{- if not (or .Values.tokens.secret .Values.tls.clientCA .Values.insecure) }}
{{- fail "anybody could call: set tokens.secret, tls.clientCA or insecure" }}
{{- end -}}
- serve
{{- range .Values.models }}
- {{ printf "--model=%s" . | quote }}
{{- end }}
{{- if gt (int .Values.gpu.count) 1 }}
- --device=all
{{- end }}
- --host=0.0.0.0
- --port=50051
- --metrics-host=0.0.0.0
- --metrics-port=9464
- --log-format=json
- --drain-seconds={{ .Values.drainSeconds }}
- --max-connection-age={{ .Values.maxConnectionAgeSeconds }}
{{- if .Values.tls.secret }}
- --tls-cert=/etc/qwentts/tls/tls.crt
- --tls-key=/etc/qwentts/tls/tls.key
{{- end }}
{{- if .Values.tls.clientCA }}
- --tls-client-ca=/etc/qwentts/tls/ca.crt
{{- end }}
{{- if .Values.tokens.secret }}
- --token-file=/etc/qwentts/tokens/tokens
{{- end }}
{{- if .Values.insecure }}
- --insecure
{{- end }}
{{- include "qwentts.flags" .Values.flags }}
{{- end }}

{{- define "qwentts.flags" -}}
{{- range $flag, $value := . }}
{{- if kindIs "bool" $value }}
- --{{ ternary "" "no-" $value }}{{ $flag }}
{{- else }}
- {{ printf "--%s=%s" $flag (kindIs "float64" $value | ternary (printf "%v" ($value | toRawJson)) (toString $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "qwentts.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if gt (int .Values.gpu.count) 0 -}}
{{- $_ := set $resources "limits" (merge (dict .Values.gpu.resource (int .Values.gpu.count)) ($resources.limits | default dict)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}
