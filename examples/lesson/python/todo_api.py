"""The lesson's todo-api: it finds the other services by app ID only."""

import logging
import uuid
from typing import Optional

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import sidecar

logger = logging.getLogger("uvicorn")  # uvicorn has set it up to print INFO

app = FastAPI()


class Task(BaseModel):
    id: Optional[str] = None
    title: str
    status: str = "pending"


STORE = "statestore"  # is always there; a Component file of that name takes its place


@app.exception_handler(sidecar.CallError)
async def state_failed(_, error: sidecar.CallError):
    """Calls to others are caught below: what is left is the state store's."""
    return JSONResponse({"detail": str(error)}, status_code=503)


@app.post("/tasks", response_model=Task, status_code=201)
def create_task(task: Task):
    task.id = str(uuid.uuid4())
    sidecar.save_state(STORE, f"task-{task.id}", task.dict())
    try:
        answer = sidecar.invoke(
            "notification-service",
            "notify",
            {"message": f"Todo created: {task.title}", "task_id": task.id},
        )
        logger.info("Notification response: %s", answer)
    except sidecar.CallError as error:
        # The task is safe; that nobody was told is worth a line, not a failure.
        logger.warning("Notification failed: %s", error)
    return task


@app.get("/tasks/{task_id}", response_model=Task)
def get_task(task_id: str):
    saved = sidecar.get_state(STORE, f"task-{task_id}")
    if saved is None:
        raise HTTPException(404, f"no task {task_id}")
    return Task(**saved)


@app.post("/tasks/{task_id}/complete")
def complete_task(task_id: str):
    """A task is complete even if it could not be charged; the answer says which."""
    task = get_task(task_id)
    task.status = "completed"
    sidecar.save_state(STORE, f"task-{task_id}", task.dict())

    billing = "charged"
    try:
        sidecar.invoke("billing-service", "charge", {"task_id": task.id, "title": task.title})
    except sidecar.CallError as error:
        billing = sidecar.advice(error)
        logger.warning("Not charged: %s", billing)

    try:
        answer = sidecar.post(
            "notification-service",
            "/notify",
            {"message": f"Task completed: {task.title}", "task_id": task.id},
        )
        logger.info("Notification response: %s", answer)
    except sidecar.CallError as error:
        logger.warning("Notification failed: %s", error)
    return {"id": task.id, "title": task.title, "status": task.status, "billing": billing}


@app.get("/health")
async def health():
    return {"status": "healthy"}
