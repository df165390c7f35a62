"""The manifests are valid for KubeRay and Kubernetes, safe, and agree with the job file."""

import copy
import gzip
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline.config.loading import load_job
from pipeline.config.schema import Job
from tests.deploy.test_images import environment, named
from tests.support.jobs import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("development", "production")
DEFINITIONS = Path(os.environ.get("OVERNIGHT_KUBERAY", ROOT.parent / "shared" / "kuberay"))
DEFINITION = {"RayJob": "ray.io_rayjobs.yaml.gz", "RayCronJob": "ray.io_raycronjobs.yaml.gz"}
KUBECTL = shutil.which(
    "kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a definition has 20,000 lines
UNITS = {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
GPU = "nvidia.com/gpu"
DAY = 24 * 60 * 60
JOB_NAME = "metadata.labels['batch.kubernetes.io/job-name']"

Manifest = dict[str, Any]

in_every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
by_hand_and_nightly = pytest.mark.parametrize("kind", DEFINITION)
needs_definitions = pytest.mark.skipif(
    not DEFINITIONS.is_dir(),
    reason=f"no definitions of KubeRay in {DEFINITIONS}; OVERNIGHT_KUBERAY names their folder",
)


@cache
def _built(overlay: str) -> str:
    assert KUBECTL, "kubectl is missing: it comes with the extra `dev`"
    done = subprocess.run(
        [KUBECTL, "kustomize", str(MANIFESTS / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def built(overlay: str) -> list[Manifest]:
    return list(yaml.load_all(_built(overlay), Loader=LOADER))


def of_kind(overlay: str, kind: str) -> list[Manifest]:
    return [manifest for manifest in built(overlay) if manifest["kind"] == kind]


def ray_job(overlay: str, kind: str) -> Manifest:
    """The spec of a RayJob: its own, or the template of the RayCronJob."""
    [manifest] = of_kind(overlay, kind)
    return manifest["spec"] if kind == "RayJob" else manifest["spec"]["jobTemplate"]


def groups(spec: Manifest) -> dict[str, Manifest]:
    """The head and the worker groups, by name."""
    cluster = spec["rayClusterSpec"]
    return {"head": cluster["headGroupSpec"]} | {
        group["groupName"]: group for group in cluster["workerGroupSpecs"]
    }


def templates(spec: Manifest) -> dict[str, Manifest]:
    """Every pod template of a RayJob, including that of the pod which submits it."""
    of_groups = {name: group["template"] for name, group in groups(spec).items()}
    return of_groups | {"submitter": spec["submitterPodTemplate"]}


def ray_pods(spec: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    """The groups with their pods' specs."""
    for group in groups(spec).values():
        yield group, group["template"]["spec"]


def container(pod: Manifest) -> Manifest:
    [only] = pod["containers"]
    return only


def amount(quantity: str | int) -> float:
    match = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(quantity))
    assert match
    return float(match[1]) * UNITS[match[2]]


def volume(pod: Manifest, path: str) -> Manifest:
    """The volume that is mounted at `path`."""
    [name] = [m["name"] for m in container(pod)["volumeMounts"] if m["mountPath"] == path]
    [mounted] = [each for each in pod["volumes"] if each["name"] == name]
    return mounted


def gpus(group: Manifest) -> int:
    resources = container(group["template"]["spec"])["resources"]
    assert resources["requests"].get(GPU) == resources["limits"].get(GPU)
    return int(resources["limits"].get(GPU, 0))


def variables(holder: Manifest) -> dict[str, Manifest]:
    return {each["name"]: each for each in holder.get("env", [])}


def job(overlay: str) -> Job:
    return load_job(MANIFESTS / "overlays" / overlay / "job.yaml")


@cache
def schema(kind: str) -> Manifest:
    """The schema of a definition's `v1`, closed: unknown fields are errors."""
    with gzip.open(DEFINITIONS / DEFINITION[kind], "rt", encoding="utf-8") as packed:
        versions = yaml.load(packed, Loader=LOADER)["spec"]["versions"]  # noqa: S506  a SafeLoader
    [schema_] = [v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1"]
    return closed(schema_)


def closed(node: Any) -> Any:
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    copied = {key: closed(value) for key, value in node.items()}
    loose = node.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(node.get("properties"), dict) and not loose:
        copied.setdefault("additionalProperties", False)
    return copied


def faults(manifest: Manifest) -> list[str]:
    checker = jsonschema.Draft202012Validator(schema(manifest["kind"]))
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(manifest)]


# Schemas.


@needs_definitions
@in_every_overlay
@by_hand_and_nightly
def test_kuberay_knows_every_field(overlay: str, kind: str):
    [manifest] = of_kind(overlay, kind)
    assert faults(manifest) == []


@needs_definitions
@by_hand_and_nightly
def test_a_field_that_kuberay_would_drop_is_found_at_any_depth(kind: str):
    [manifest] = of_kind("production", kind)
    wrong = copy.deepcopy(manifest)
    wrong["spec"]["concurrencyPolicy"] = "Forbid"
    spec = wrong["spec"] if kind == "RayJob" else wrong["spec"]["jobTemplate"]
    container(spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"])["ressources"] = {}
    assert len(faults(wrong)) == 2


@in_every_overlay
def test_kubernetes_knows_every_field_of_its_own_kinds(overlay: str):
    others = [each for each in built(overlay) if each["kind"] not in DEFINITION]
    assert {each["kind"] for each in others} >= {"ConfigMap", "NetworkPolicy", "ServiceAccount"}
    for manifest in others:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@in_every_overlay
@by_hand_and_nightly
def test_kubernetes_knows_every_field_of_every_pod(overlay: str, kind: str):
    every = templates(ray_job(overlay, kind))
    assert len(every) >= 3  # the head's, the GPU workers' and the submitter's at least
    for name, template in every.items():
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **template["metadata"]},
            "spec": template["spec"],
        }
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


@in_every_overlay
@by_hand_and_nightly
def test_every_name_that_is_referred_to_exists(overlay: str, kind: str):
    names = {(each["kind"], each["metadata"]["name"]) for each in built(overlay)}
    for template in templates(ray_job(overlay, kind)).values():
        pod = template["spec"]
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        for each in pod["volumes"]:
            if claim := each.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
            if config := each.get("configMap"):
                assert ("ConfigMap", config["name"]) in names


# What a pod may do.


@in_every_overlay
@by_hand_and_nightly
def test_no_container_runs_as_root_or_can_become_it(overlay: str, kind: str):
    spec = ray_job(overlay, kind)
    scaler = spec["rayClusterSpec"]["autoscalerOptions"]
    containers = [scaler, *(container(each["spec"]) for each in templates(spec).values())]
    for each in containers:
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    for template in templates(spec).values():
        context = template["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        sources = {key for each in template["spec"]["volumes"] for key in each} - {"name"}
        assert sources <= {"configMap", "emptyDir", "persistentVolumeClaim"}


@in_every_overlay
@by_hand_and_nightly
def test_pods_run_as_the_user_of_their_image(overlay: str, kind: str):
    for template in templates(ray_job(overlay, kind)).values():
        context = template["spec"]["securityContext"]
        ids = f"{context['runAsUser']}:{context['runAsGroup']}"
        assert named(dockerfile(template), "USER")[-1] == ids
        assert context["fsGroup"] == context["runAsGroup"]


def dockerfile(template: Manifest) -> Path:
    image = container(template["spec"])["image"]
    return ROOT / "deploy" / "images" / f"{image.rpartition('/')[2].split(':')[0]}.Dockerfile"


@in_every_overlay
@by_hand_and_nightly
def test_images_are_those_of_this_release_and_the_operator_knows_their_version_of_ray(
    overlay: str, kind: str
):
    spec = ray_job(overlay, kind)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {container(each["spec"])["image"] for each in templates(spec).values()}
    [image] = images
    assert re.fullmatch(rf"registry\.example\.org/overnight/\w+:{re.escape(version)}", image)
    assert all(dockerfile(each).is_file() for each in templates(spec).values())
    ray = spec["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={ray}\n" in (ROOT / "constraints.txt").read_text()


@in_every_overlay
@by_hand_and_nightly
def test_what_an_image_writes_goes_to_a_volume(overlay: str, kind: str):
    for _, pod in ray_pods(ray_job(overlay, kind)):
        for path in ("/tmp", "/cache", "/dev/shm"):  # noqa: S108
            assert {"emptyDir", "persistentVolumeClaim"} & volume(pod, path).keys()
    variables_ = environment(dockerfile(templates(ray_job(overlay, kind))["head"]))
    assert variables_["HF_HOME"].startswith("/cache/")
    assert variables_["HOME"] == "/tmp"  # noqa: S108


@in_every_overlay
def test_secrets_are_references_and_each_may_be_absent(overlay: str):
    assert of_kind(overlay, "Secret") == []
    for kind in DEFINITION:
        for template in templates(ray_job(overlay, kind)).values():
            holder = container(template["spec"])
            for name, each in variables(holder).items():
                if re.search(r"KEY|TOKEN|SECRET|PASSWORD|WEBHOOK", name):
                    assert each.keys() == {"name", "valueFrom"}
                    assert each["valueFrom"]["secretKeyRef"]["optional"] is True
            for source in holder.get("envFrom", []):
                assert source["secretRef"]["optional"] is True


@in_every_overlay
@by_hand_and_nightly
def test_only_the_head_has_an_account_with_a_token_for_the_cluster(overlay: str, kind: str):
    tokenless = {
        each["metadata"]["name"]
        for each in of_kind(overlay, "ServiceAccount")
        if each.get("automountServiceAccountToken") is False
    }
    for name, template in templates(ray_job(overlay, kind)).items():
        pod = template["spec"]
        if name == "head":
            assert pod["serviceAccountName"] not in tokenless
        else:
            assert pod["serviceAccountName"] in tokenless
            assert pod["automountServiceAccountToken"] is False


@in_every_overlay
def test_the_namespace_enforces_the_restricted_pod_security_standard(overlay: str):
    [namespace] = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    placed = {each["metadata"].get("namespace") for each in built(overlay)} - {None}
    assert placed == {namespace["metadata"]["name"]}


@in_every_overlay
def test_only_its_cluster_and_the_monitoring_reach_a_pod(overlay: str):
    [policy] = of_kind(overlay, "NetworkPolicy")
    ours = policy["spec"]["podSelector"]["matchLabels"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    for kind in DEFINITION:
        for template in templates(ray_job(overlay, kind)).values():
            assert ours.items() <= template["metadata"]["labels"].items()
    for rule in policy["spec"]["ingress"]:
        [peer] = rule["from"]
        if peer == {"podSelector": {"matchLabels": ours}}:
            continue
        assert peer["namespaceSelector"]["matchLabels"]
        assert {port["port"] for port in rule["ports"]} <= {8080, 8265}
        if 8265 in {port["port"] for port in rule["ports"]}:
            assert peer["podSelector"]["matchLabels"]


# Resources of Ray.


@in_every_overlay
@by_hand_and_nightly
def test_the_head_has_no_gpu_and_no_work(overlay: str, kind: str):
    head = groups(ray_job(overlay, kind))["head"]
    assert head["rayStartParams"]["num-gpus"] == head["rayStartParams"]["num-cpus"] == "0"
    assert gpus(head) == 0


@in_every_overlay
@by_hand_and_nightly
def test_the_groups_have_the_gpus_that_the_job_file_asks_for(overlay: str, kind: str):
    engine = job(overlay).engine
    with_gpus = {n: g for n, g in groups(ray_job(overlay, kind)).items() if gpus(g)}
    if not engine.gpus:
        assert with_gpus == {}
        return
    [group] = with_gpus.values()
    replicas, rest = divmod(gpus(group), engine.gpus)
    assert rest == 0
    assert replicas * group["maxReplicas"] == engine.replicas.max
    assert int(group["rayStartParams"]["num-gpus"]) == gpus(group)


@in_every_overlay
@by_hand_and_nightly
def test_nodes_with_gpus_start_when_needed_and_run_replicas_only(overlay: str, kind: str):
    for group in groups(ray_job(overlay, kind)).values():
        if gpus(group):
            assert group["minReplicas"] == group["replicas"] == 0
            each = job(overlay).engine.gpus
            assert int(group["rayStartParams"]["num-cpus"]) == gpus(group) // each


@in_every_overlay
@by_hand_and_nightly
def test_the_flow_and_engines_without_a_gpu_have_cpus_of_their_own(overlay: str, kind: str):
    spec, engine = ray_job(overlay, kind), job(overlay).engine
    flow = [g for n, g in groups(spec).items() if n != "head" and not gpus(g)]
    assert any(group["minReplicas"] >= 1 for group in flow)
    cpus = sum(
        group["maxReplicas"]
        * amount(container(group["template"]["spec"])["resources"]["limits"]["cpu"])
        for group in flow
    )
    assert cpus > (0 if engine.gpus else engine.replicas.max)


@in_every_overlay
@by_hand_and_nightly
def test_the_cluster_grows_and_shrinks_by_itself(overlay: str, kind: str):
    cluster = ray_job(overlay, kind)["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert 60 <= cluster["autoscalerOptions"]["idleTimeoutSeconds"] <= 900
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@in_every_overlay
@by_hand_and_nightly
def test_the_object_store_fits_into_shared_memory_and_shared_memory_into_the_pod(
    overlay: str, kind: str
):
    for group, pod in ray_pods(ray_job(overlay, kind)):
        shared = volume(pod, "/dev/shm")["emptyDir"]  # noqa: S108
        assert shared["medium"] == "Memory"
        store = int(group["rayStartParams"]["object-store-memory"])
        memory = container(pod)["resources"]["limits"]["memory"]
        assert store < amount(shared["sizeLimit"]) <= amount(memory) / 2
        assert container(pod)["resources"]["requests"]["memory"] == memory


# A run every night.


@in_every_overlay
def test_the_job_file_is_valid(overlay: str):
    [config] = of_kind(overlay, "ConfigMap")
    path = MANIFESTS / "overlays" / overlay / "job.yaml"
    assert config["data"] == {"job.yaml": path.read_text()}
    assert job(overlay).name


@in_every_overlay
@by_hand_and_nightly
def test_every_node_has_the_job_file_at_the_path_in_the_command(overlay: str, kind: str):
    spec = ray_job(overlay, kind)
    assert spec["entrypoint"].endswith("python -m jobs run /etc/overnight/job.yaml --json")
    [config] = of_kind(overlay, "ConfigMap")
    for _, pod in ray_pods(spec):
        assert volume(pod, "/etc/overnight")["configMap"]["name"] == config["metadata"]["name"]


@in_every_overlay
def test_the_image_contains_what_the_job_file_reads_from_it(overlay: str):
    template = templates(ray_job(overlay, "RayJob"))["head"]
    [folder] = named(dockerfile(template), "WORKDIR")
    read = [job(overlay).prompt.template, job(overlay).input.uri]
    inside = [Path(text) for text in read if "://" not in text]
    assert inside
    for path in inside:
        assert path.is_relative_to(folder)
        assert (ROOT / path.relative_to(folder)).exists()


@in_every_overlay
def test_the_store_is_in_a_bucket_which_all_pods_can_write_to(overlay: str):
    assert job(overlay).output.uri.startswith("s3://example-")


def test_production_never_overwrites_its_store():
    assert job("production").output.append_only is True


@in_every_overlay
@by_hand_and_nightly
def test_a_run_s_grace_ends_before_ray_s_and_that_before_kubernetes_s(overlay: str, kind: str):
    spec = ray_job(overlay, kind)
    head = variables(container(groups(spec)["head"]["template"]["spec"]))
    stopped = float(head["RAY_JOB_STOP_WAIT_TIME_S"]["value"])
    assert 0 < job(overlay).grace_seconds <= stopped - 5
    for template in templates(spec).values():
        assert stopped <= template["spec"]["terminationGracePeriodSeconds"] - 5


@in_every_overlay
@by_hand_and_nightly
def test_every_attempt_of_a_run_has_the_name_of_its_rayjob(overlay: str, kind: str):
    spec = ray_job(overlay, kind)
    known = variables(container(spec["submitterPodTemplate"]["spec"]))
    assert known["OVERNIGHT_RUN_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == JOB_NAME
    assert "OVERNIGHT_RUN_ID=$(OVERNIGHT_RUN_ID) " in spec["entrypoint"]
    assert set(re.findall(r"\$\((\w+)\)", spec["entrypoint"])) <= known.keys()
    assert spec["submissionMode"] == "K8sJobMode"
    [manifest] = of_kind(overlay, kind)
    name = manifest["metadata"]["name"] + ("-29412360" if kind == "RayCronJob" else "")
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    assert len(name) <= 47, "KubeRay takes no longer name for a RayJob"


@in_every_overlay
def test_nightly_runs_equal_those_started_by_hand(overlay: str):
    by_hand, nightly = ray_job(overlay, "RayJob"), ray_job(overlay, "RayCronJob")
    for field in ("entrypoint", "rayClusterSpec", "submitterPodTemplate"):
        assert nightly[field] == by_hand[field]


@in_every_overlay
@by_hand_and_nightly
def test_a_cluster_does_not_outlive_its_run(overlay: str, kind: str):
    spec = ray_job(overlay, kind)
    assert spec["shutdownAfterJobFinishes"] is True
    assert 0 < spec["ttlSecondsAfterFinished"] <= 3600
    assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
    assert job(overlay).engine.start_seconds < spec["activeDeadlineSeconds"]


@in_every_overlay
def test_all_attempts_of_a_run_end_before_the_next_night(overlay: str):
    [manifest] = of_kind(overlay, "RayCronJob")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", manifest["spec"]["schedule"])
    assert manifest["spec"]["timeZone"]
    spec = ray_job(overlay, "RayCronJob")
    assert 0 < spec["backoffLimit"] <= 2
    attempt = spec["activeDeadlineSeconds"] + spec["ttlSecondsAfterFinished"]
    assert (spec["backoffLimit"] + 1) * attempt <= DAY


@in_every_overlay
def test_applying_an_overlay_starts_no_run(overlay: str):
    assert ray_job(overlay, "RayJob")["suspend"] is True
    assert ray_job(overlay, "RayJob")["backoffLimit"] == 0
    assert "suspend" not in ray_job(overlay, "RayCronJob")


def test_only_production_runs_every_night():
    [development] = of_kind("development", "RayCronJob")
    [production] = of_kind("production", "RayCronJob")
    assert development["spec"]["suspend"] is True
    assert production["spec"]["suspend"] is False


def test_development_has_one_small_worker_and_an_engine_without_a_model():
    assert job("development").engine.kind == "extractive"
    _, worker = groups(ray_job("development", "RayJob")).values()
    assert worker["maxReplicas"] == 1
    assert amount(container(worker["template"]["spec"])["resources"]["limits"]["cpu"]) <= 2


def test_production_puts_workers_with_gpus_on_spot_nodes_and_the_head_elsewhere():
    every = groups(ray_job("production", "RayJob"))
    head, worker = (every[name]["template"] for name in ("head", "gpu"))
    assert head["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}
    assert worker["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": "spot"}
    assert {each["key"] for each in worker["spec"]["tolerations"]} >= {
        GPU,
        "karpenter.sh/capacity-type",
    }


@in_every_overlay
@by_hand_and_nightly
def test_autoscalers_may_move_workers_but_not_a_head(overlay: str, kind: str):
    for name, template in templates(ray_job(overlay, kind)).items():
        notes = template["metadata"].get("annotations", {})
        stays = {
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            "karpenter.sh/do-not-disrupt": "true",
        }
        assert notes == (stays if name == "head" else {})


def test_the_accounts_of_production_have_an_identity_with_the_cloud():
    for account in of_kind("production", "ServiceAccount"):
        assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
