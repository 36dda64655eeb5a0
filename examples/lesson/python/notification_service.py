"""The lesson's notification service. Nothing in it knows of a sidecar."""

import logging
from typing import Optional

from fastapi import FastAPI
from pydantic import BaseModel

logger = logging.getLogger("uvicorn")  # uvicorn has set it up to print INFO

app = FastAPI()


class NotificationRequest(BaseModel):
    message: str
    task_id: Optional[str] = None


@app.post("/notify")
async def notify(request: NotificationRequest):
    """Receive notification from other services."""
    logger.info("Notification received: %s", request.message)
    return {"status": "delivered", "message": request.message}


@app.get("/health")
async def health():
    return {"status": "healthy"}
